-- GCRA for all rates of a caller at once: a call that one of them refuses counts for none.
--
-- A caller has a debt for each of its rates. A call adds to it, time takes from it, and it must not become more than
-- the calls of one span. It is counted in parts of a microsecond, of which there are as many as calls in the span, so
-- that all of it is in whole numbers: a call adds `span`, and a microsecond takes `calls`. Lua's numbers hold these
-- exactly up to 2^53, which is 104,249/day; beyond that they are wrong by less than a millionth of a call.
--
-- KEYS: one for each rate, that of the shortest span first.
-- ARGV: for each of them its calls and its span in microseconds.
-- Gives which rate refuses, or 0, and after how many microseconds it would not.

-- The time of Redis, so that the clocks of those who ask do not matter.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

-- Kept until nothing is owed any more.
local function keep(key, debt, calls)
  local expires = string.format('%.0f', math.ceil(debt / calls / 1000))
  redis.call('SET', key, string.format('%.0f %.0f', debt, now), 'PX', expires)
end

local debts = {}
for i, key in ipairs(KEYS) do
  local calls, span = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local debt, at = string.match(redis.call('GET', key) or '', '^(%d+) (%d+)$')
  debt, at = tonumber(debt or 0), tonumber(at or now)
  debt = math.max(0, debt - math.max(0, now - at) * calls)
  if debt + span > calls * span then
    -- The clock was set back: until it came to that time again, nothing would be taken from the debt.
    if at > now then keep(key, debt, calls) end
    return { i, math.ceil((debt + span - calls * span) / calls) }
  end
  debts[i] = debt + span
end
for i, key in ipairs(KEYS) do
  keep(key, debts[i], tonumber(ARGV[2 * i - 1]))
end
return { 0, 0 }
