-- Give back what reservations hold whose answers never came: see extproc/quota/redis_store.py.
-- KEYS: the set of reservations by expiry, the beginning of reservations' keys. ARGV: ids. Answers with the time.
for _, id in ipairs(ARGV) do
  local name = KEYS[2] .. id
  local stored = redis.call('GET', name)
  if stored and stored ~= '' then
    for _, line in ipairs(cjson.decode(stored)) do
      if redis.call('HEXISTS', line[1], 'h' .. line[2]) == 1 then
        redis.call('HINCRBY', line[1], 'h' .. line[2], '-' .. line[3])
      end
    end
  end
  redis.call('ZREM', KEYS[1], id)
  -- It may still be on its way here: it is nobody's by now.
  redis.call('SET', name, '', 'EX', '60')
end
local time = redis.call('TIME')
return time[1] .. '.' .. string.format('%06d', time[2])
