-- Stands before reserve.lua and release.lua: what a reservation holds is free again, and the reservation forgotten.
-- Answers with '' for one that was given up before it came, see release.lua; false where there is none.
local function give_back(name)
  local stored = redis.call('GET', name)
  if not stored or stored == '' then return stored end
  for _, line in ipairs(cjson.decode(stored)) do
    if line[3] ~= '0' and redis.call('HEXISTS', line[1], 'h' .. line[2]) == 1 then
      redis.call('HINCRBY', line[1], 'h' .. line[2], '-' .. line[3])
    end
  end
  redis.call('DEL', name)
end

-- What is held beyond its time, of so many at most. 'base' is the beginning of reservations' keys.
local function give_back_expired(base, now, most)
  for _, expired in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, most)) do
    give_back(base .. expired)
    redis.call('ZREM', KEYS[1], expired)
  end
end

