-- Book what requests have used: see extproc/quota/store.py, and extproc/quota/embedded.py for the same in SQL.
-- KEYS: the mark of this batch, the set of reservations by expiry, the beginning of reservations' keys, then counters'.
-- ARGV: each settlement, as words: id, whether it closes, and for each line the number of its counter, its slot
--   ('-' for a rate), what it gives back, what it books.
if not redis.call('SET', KEYS[1], '1', 'NX', 'EX', '600') then return 0 end
for _, settlement in ipairs(ARGV) do
  local following = string.gmatch(settlement, '%S+')
  local id, closes = following(), following() == '1'
  local holds = true
  if closes then
    local name = KEYS[3] .. id
    local stored = redis.call('GET', name)
    -- What is empty was given back before: see extproc/quota/release.lua.
    holds = stored and stored ~= ''
    if holds then redis.call('DEL', name) end
    redis.call('ZREM', KEYS[2], id)
  end
  for number in following do
    local key, slot, held, used = KEYS[3 + tonumber(number)], following(), following(), following()
    if slot == '-' then
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
