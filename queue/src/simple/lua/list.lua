-- A plain list: elements have no ids, so the claim gives them one: the time and a number that only grows. It stays
-- unique when the number is lost with the data, and is never used again.
--
-- The run of an element is made of the life of the list, of how many were taken before it, and of the element itself. A
-- Redis that forgets its last second forgets the number and the taking together: the same element has the same run again.
-- What was pushed since has the number of another that is forgotten, and is told apart by its content.

local function life(q, seed)
  local known = redis.call('GET', q.prefix .. ':life')
  if known then return known end
  redis.call('SET', q.prefix .. ':life', seed)
  return seed
end

local function take(q, most, now, worker, seed, hand_out)
  local records = redis.call('LRANGE', q.key, 0, most - 1)
  if #records == 0 then return end
  local lives = life(q, seed)
  local last = redis.call('INCRBY', q.prefix .. ':seq', #records)
  q.counted = #records
  for i, record in ipairs(records) do
    local number = string.format('%.0f', last - #records + i)
    hand_out(string.format('%.0f-', now) .. number, record, redis.sha1hex(lives .. ':' .. number .. ':' .. record))
  end
  redis.call('LPOP', q.key, #records)
  q.counted = nil
end

-- An element left the list when it was claimed: there is nothing else to keep in step.
local function resume(q, id, worker, attempt) end
local function park(q, id) end
local function touch(q, id, worker) end
local function done(q, id) end
local function forget(q, worker) end
local function adopt(q, lease, most, seed) return {} end

local function try_source(try, q, worker)
  try('LRANGE', q.key, 0, 0)
  try('LPOP', q.key, 0)
  try('INCRBY', q.prefix .. ':seq', 0)
end
