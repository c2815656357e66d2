-- A stream with a consumer group. The group's pending entries mirror our leases, so XPENDING and XINFO show the truth,
-- and consumers that are not ours can share the group.

-- Owns the entries that wait for another attempt.
local PARKED = 'jobqueue-waiting'

local function read(q, most, worker)
  return redis.pcall('XREADGROUP', 'GROUP', q.group, worker, 'COUNT', most, 'STREAMS', q.key, '>')
end

-- The fields of an entry as one text: for each name and value its length, a colon and itself.
local function pack(fields)
  local parts = {}
  for i, part in ipairs(fields) do parts[i] = #part .. ':' .. part end
  return table.concat(parts)
end

-- The life of a group: a random number in the name of a consumer that reads nothing. It goes with the group and with the
-- stream, whoever deletes them, and with nothing else: entries of a stream that is made anew are other runs, though
-- their ids be the same.
local function life(q, seed)
  local known = redis.call('GET', q.prefix .. ':life')
  if known then
    if redis.call('XGROUP', 'CREATECONSUMER', q.key, q.group, 'jobqueue-life-' .. known) == 0 then return known end
    redis.call('XGROUP', 'DELCONSUMER', q.key, q.group, 'jobqueue-life-' .. known)
  end
  redis.call('XGROUP', 'CREATECONSUMER', q.key, q.group, 'jobqueue-life-' .. seed)
  redis.call('SET', q.prefix .. ':life', seed)
  return seed
end

local function run_of(q, id, seed) return life(q, seed) .. ':' .. id end

local function take(q, most, now, worker, seed, hand_out)
  -- Reading needs no memory, what follows does: a full Redis is found out before.
  redis.call('SET', q.prefix .. ':probe', '1', 'XX')
  local answer = read(q, most, worker)
  if answer and answer.err and string.find(answer.err, 'NOGROUP', 1, true) then
    redis.call('XGROUP', 'CREATE', q.key, q.group, '0', 'MKSTREAM')
    answer = read(q, most, worker)
  end
  if not answer then return end
  if answer.err then error(answer.err, 0) end
  local lives = life(q, seed)
  for _, entry in ipairs(answer[1][2]) do hand_out(entry[1], pack(entry[2]), lives .. ':' .. entry[1]) end
end

local function resume(q, id, worker, attempt)
  redis.pcall('XCLAIM', q.key, q.group, worker, 0, id, 'RETRYCOUNT', attempt, 'JUSTID')
end

local function park(q, id)
  redis.pcall('XCLAIM', q.key, q.group, PARKED, 0, id, 'JUSTID')
end

local function touch(q, id, worker)
  redis.pcall('XCLAIM', q.key, q.group, worker, 0, id, 'JUSTID')
end

-- An entry that only we read is of no more use; where other groups read the stream too, it is theirs to trim.
local function done(q, id)
  redis.pcall('XACK', q.key, q.group, id)
  local groups = redis.pcall('XINFO', 'GROUPS', q.key)
  if not groups.err and #groups == 1 then redis.pcall('XDEL', q.key, id) end
end

-- Deleting a consumer deletes its pending entries, so only one without any may go.
local function forget(q, worker)
  local pending = redis.pcall('XPENDING', q.key, q.group, '-', '+', 1, worker)
  if not pending.err and #pending == 0 then redis.pcall('XGROUP', 'DELCONSUMER', q.key, q.group, worker) end
end

-- Entries that were delivered to somebody who is not one of ours and has been silent for a lease: {id, record,
-- deliveries} each. A cursor carries on where the last look ended.
local function adopt(q, lease, most, seed)
  local cursor = redis.call('GET', q.prefix .. ':cursor') or '0-0'
  local answer = redis.pcall('XAUTOCLAIM', q.key, q.group, PARKED, lease, cursor, 'COUNT', most, 'JUSTID')
  if answer.err then return {} end
  redis.call('SET', q.prefix .. ':cursor', answer[1])
  local found = {}
  for _, id in ipairs(answer[2]) do
    if redis.call('EXISTS', job_key(q, id)) == 0 then
      local entry = redis.call('XRANGE', q.key, id, id)
      if entry[1] then
        local pending = redis.call('XPENDING', q.key, q.group, id, id, 1)
        found[#found + 1] = {id, pack(entry[1][2]), pending[1] and pending[1][4] or 1, run_of(q, id, seed)}
      else
        redis.call('XACK', q.key, q.group, id)
      end
    end
  end
  return found
end

local function try_source(try, q, worker)
  local group = redis.pcall('XGROUP', 'CREATE', q.key, q.group, '0', 'MKSTREAM')
  if group.err and not string.find(group.err, 'BUSYGROUP', 1, true) then try('XGROUP', 'CREATE', q.key, q.group, '0', 'MKSTREAM') end
  try('XREADGROUP', 'GROUP', q.group, worker, 'COUNT', 1, 'STREAMS', q.key, '0')
  try('XGROUP', 'CREATECONSUMER', q.key, q.group, worker)
  try('XGROUP', 'DELCONSUMER', q.key, q.group, worker .. '-none')
  try('XACK', q.key, q.group, '0-0')
  try('XDEL', q.key, '0-0')
  try('XCLAIM', q.key, q.group, worker, 0, '0-0', 'JUSTID')
  try('XAUTOCLAIM', q.key, q.group, worker, 9000000000000, '0-0', 'COUNT', 1, 'JUSTID')
  try('XPENDING', q.key, q.group, '-', '+', 1)
  try('XRANGE', q.key, '-', '-', 'COUNT', 1)
  try('XINFO', 'GROUPS', q.key)
  try('GET', q.prefix .. ':cursor')
end
