-- Take every line of a request, or none: see extproc/quota/store.py, and extproc/quota/embedded.py for the same in SQL.
-- KEYS: the set of reservations by expiry, this reservation, then one key for each line.
-- ARGV: one, in words: the id; seconds that it lasts; seconds that counters are kept after their end; for each line
--   r amount enforced capacity per-second   or   w amount enforced limit slot first ends until   ('-' for none)
-- Answers in words: granted, the time, and for each line what is free, whether it fits, how long to wait ('-' for ever).
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local following = string.gmatch(ARGV[1], '%S+')
local id, lasts, kept = following(), tonumber(following()), tonumber(following())

-- What others hold beyond their time, and what this one holds if it was asked for before and the answer got lost.
give_back_expired(string.sub(KEYS[2], 1, -1 - #id), now, 20)
if give_back(KEYS[2]) == '' then return '0 ' .. string.format('%.6f', now) end  -- see extproc/quota/release.lua

local function look_at_rate(key, amount, capacity, per_second)
  local found = redis.call('HMGET', key, 'l', 't')
  local level = capacity
  if found[1] then
    level = math.min(capacity, tonumber(found[1]) + math.max(0, now - tonumber(found[2])) * per_second)
  end
  local wait = '-'
  if amount <= capacity then wait = math.max(0, (amount - level) / per_second) end
  return level, amount <= level, wait
end

local function forget_slots_before(key, first)
  for _, field in ipairs(redis.call('HKEYS', key)) do
    if tonumber(string.sub(field, 2)) < first then redis.call('HDEL', key, field) end
  end
end

local function look_at_window(key, amount, limit, slot, first, ends)
  local own = redis.call('HMGET', key, 'u' .. slot, 'h' .. slot)
  local counted = tonumber(own[1] or 0) + tonumber(own[2] or 0)
  if not own[2] then forget_slots_before(key, tonumber(first)) end
  if first ~= slot then
    counted = 0
    local all = redis.call('HGETALL', key)
    for i = 1, #all, 2 do
      if tonumber(string.sub(all[i], 2)) >= tonumber(first) then counted = counted + tonumber(all[i + 1]) end
    end
  end
  local free = limit - counted
  if amount <= free then return free, true, 0 end
  if ends == '-' then return free, false, '-' end
  return free, false, math.max(0.001, tonumber(ends) - now)
end

local lines, levels, granted = {}, {}, true
for i = 1, #KEYS - 2 do
  local line = {following(), following(), following(), following(), following()}
  if line[1] == 'w' then line[6], line[7], line[8] = following(), following(), following() end
  lines[i] = line
  local key, amount = KEYS[2 + i], tonumber(line[2])
  local free, fits, wait
  if line[1] == 'r' then
    free, fits, wait = look_at_rate(key, amount, tonumber(line[4]), tonumber(line[5]))
  else
    free, fits, wait = look_at_window(key, amount, tonumber(line[4]), line[5], line[6], line[7])
  end
  levels[i] = {free, fits, wait}
  if not fits and line[3] == '1' then granted = false end
end

local held = {}
if granted then
  for i, line in ipairs(lines) do
    local key, amount = KEYS[2 + i], line[2]
    if levels[i][2] then
      if line[1] == 'r' then
        local left = string.format('%.17g', levels[i][1] - tonumber(amount))
        redis.call('HSET', key, 'l', left, 't', string.format('%.17g', now))
        redis.call('EXPIRE', key, math.ceil(tonumber(line[4]) / tonumber(line[5]) + lasts))
      else
        redis.call('HINCRBY', key, 'u' .. line[5], '0')
        redis.call('HINCRBY', key, 'h' .. line[5], amount)
        if line[8] == '-' then
          redis.call('PERSIST', key)
        else
          redis.call('EXPIREAT', key, math.ceil(tonumber(line[8]) + kept))
        end
        held[#held + 1] = {key, line[5], amount}
      end
    end
  end
  if #held > 0 then
    redis.call('SET', KEYS[2], cjson.encode(held))
    redis.call('ZADD', KEYS[1], string.format('%.17g', now + lasts), id)
  end
end

local answer = {granted and 1 or 0, string.format('%.6f', now)}
for _, level in ipairs(levels) do
  answer[#answer + 1] = string.format('%.17g', level[1])
  answer[#answer + 1] = level[2] and 1 or 0
  answer[#answer + 1] = level[3] == '-' and '-' or string.format('%.17g', level[3])
end
return table.concat(answer, ' ')
