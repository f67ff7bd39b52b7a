-- Give back what reservations hold whose answers never came, see extproc/quota/redis_store.py, or whose time is over.
-- KEYS: the set of reservations by expiry, the beginning of reservations' keys. ARGV: the most that may be given back
-- for being over, then ids. Answers with the time.
local time = redis.call('TIME')
local now = time[1] .. '.' .. string.format('%06d', time[2])

for i = 2, #ARGV do
  local name = KEYS[2] .. ARGV[i]
  give_back(name)
  redis.call('ZREM', KEYS[1], ARGV[i])
  -- It may still be on its way here: it is nobody's by now.
  redis.call('SET', name, '', 'EX', '60')
end
give_back_expired(KEYS[2], now, ARGV[1])
return now
