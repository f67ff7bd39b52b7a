-- Book what requests have used: see extproc/quota/store.py, and extproc/quota/embedded.py for the same in SQL.
-- KEYS: the mark of this batch, the set of reservations by expiry, the beginning of reservations' keys, then counters'.
-- ARGV: for each settlement: id, whether it closes, its number of lines, and for each
--   line the number of its counter, its slot ('' for a rate), what it gives back, what it books.
if not redis.call('SET', KEYS[1], '1', 'NX', 'EX', '600') then return 0 end
local at = 1
local function following()
  at = at + 1
  return ARGV[at - 1]
end

while at <= #ARGV do
  local id, closes, lines = following(), following() == '1', tonumber(following())
  local holds = true
  if closes then
    holds = redis.call('DEL', KEYS[3] .. id) == 1
    redis.call('ZREM', KEYS[2], id)
  end
  for _ = 1, lines do
    local key, slot, held, used = KEYS[3 + tonumber(following())], following(), following(), following()
    if slot == '' then
      if redis.call('EXISTS', key) == 1 then
        redis.call('HINCRBYFLOAT', key, 'l', string.format('%.17g', tonumber(held) - tonumber(used)))
      end
    elseif redis.call('HEXISTS', key, 'h' .. slot) == 1 then
      redis.call('HINCRBY', key, 'u' .. slot, used)
      if holds and held ~= '0' then redis.call('HINCRBY', key, 'h' .. slot, '-' .. held) end
    end
  end
end
return 1
