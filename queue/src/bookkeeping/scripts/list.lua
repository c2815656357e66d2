-- A plain list: elements have no ids, so the claim gives them one: the time and a number that only grows. It stays
-- unique when the number is lost with the data, and is never used again.

local function take(q, most, now, worker)
  local records = redis.pcall('LPOP', q.key, most)
  if not records then return {} end
  if records.err then return {}, records.err end
  local last = redis.call('INCRBY', q.prefix .. ':seq', #records)
  local taken = {}
  for i, record in ipairs(records) do
    taken[i] = {string.format('%.0f-%.0f', now, last - #records + i), record}
  end
  return taken
end

-- An element left the list when it was claimed: there is nothing else to keep in step.
local function resume(q, id, worker, attempt) end
local function park(q, id) end
local function touch(q, id, worker) end
local function done(q, id) end
local function forget(q, worker) end
local function adopt(q, lease, most) return {} end
