-- Give back what reservations hold whose answers never came, see extproc/quota/redis_store.py, or whose time is over.
-- KEYS: the set of reservations by expiry, the beginning of reservations' keys. ARGV: the most that may be given back
-- for being over, then ids. Answers with the time.
local time = redis.call('TIME')
local now = time[1] .. '.' .. string.format('%06d', time[2])

local function give_back(id)
  local name = KEYS[2] .. id
  local stored = redis.call('GET', name)
  if stored and stored ~= '' then
    for _, line in ipairs(cjson.decode(stored)) do
      if line[3] ~= '0' and redis.call('HEXISTS', line[1], 'h' .. line[2]) == 1 then
        redis.call('HINCRBY', line[1], 'h' .. line[2], '-' .. line[3])
      end
    end
  end
  redis.call('ZREM', KEYS[1], id)
  return name
end

for i = 2, #ARGV do
  -- It may still be on its way here: it is nobody's by now.
  redis.call('SET', give_back(ARGV[i]), '', 'EX', '60')
end
for _, expired in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])) do
  redis.call('DEL', give_back(expired))
end
return now
