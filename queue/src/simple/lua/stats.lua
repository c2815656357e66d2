-- What one list or stream and its sidecar keys look like. Reads only; constant work but for the workers.
-- ARGV: stats.rs; the answer: queue/src/stats/answer.rs.
local key, prefix, group = ARGV[1], ARGV[2], ARGV[3]
local time = redis.call('TIME')
local seconds, micros = tonumber(time[1]), tonumber(time[2])
local now = seconds * 1000 + math.floor(micros / 1000)
local ready, lease, scheduled = prefix .. ':ready', prefix .. ':lease', prefix .. ':scheduled'
local members, trouble = prefix .. ':workers', prefix .. ':trouble'
local failed = redis.call('ZCARD', prefix .. ':failed')
-- Most queues at most moments: nothing to do, and nobody there.
if redis.call('EXISTS', key, ready, lease, scheduled, members, trouble) == 0 then
  return {seconds, micros, failed, false}
end

local function stream()
  if redis.call('EXISTS', key) == 0 then return 0, '' end
  local length = redis.call('XLEN', key)
  for _, info in ipairs(redis.call('XINFO', 'GROUPS', key)) do
    local g = {}
    for i = 1, #info, 2 do g[info[i]] = info[i + 1] end
    if g['name'] == group then
      -- Redis 7 counts what the group has not read yet; before, and after deletions, the length tells, since entries
      -- that are done with are deleted.
      local unread = tonumber(g['lag'] or '') or math.max(length - g['pending'], 0)
      local first = redis.call('XRANGE', key, '(' .. g['last-delivered-id'], '+', 'COUNT', 1)[1]
      if not first then unread = 0 end
      return unread, first and first[1] or ''
    end
  end
  local first = redis.call('XRANGE', key, '-', '+', 'COUNT', 1)[1]
  return length, first and first[1] or ''
end

local waiting, oldest
if group == '' then waiting, oldest = redis.call('LLEN', key), '' else waiting, oldest = stream() end
-- Whoever writes into this Redis may write much: what is beyond is left out.
local MOST, LONGEST = tonumber(ARGV[4]), tonumber(ARGV[5])
local function cut(text, default) return string.sub(text or default, 1, LONGEST) end
local workers = {}
for _, name in ipairs(redis.call('ZRANGE', members, 0, MOST - 1)) do
  local f = redis.call('HMGET', prefix .. ':worker:' .. name, 'last_heartbeat', 'state', 'hostname',
    'successful_job_count', 'failed_job_count', 'total_working_time', 'jobqueue_concurrency')
  if f[1] then
    workers[#workers + 1] = {cut(name), cut(f[1]), cut(f[2], ''), cut(f[3], ''), cut(f[4], '0'), cut(f[5], '0'),
      cut(f[6], '0'), cut(f[7], '1'), f[2] == 'busy' and 1 or 0, ''}
  end
end
local reports = {}
for i, report in ipairs(redis.call('HVALS', trouble)) do
  if i > MOST then break end
  reports[i] = string.sub(report, 1, 4 * LONGEST)
end
return {seconds, micros, failed, {
  waiting + redis.call('LLEN', ready),
  redis.call('ZCARD', lease),
  redis.call('ZCARD', scheduled),
  redis.call('ZCOUNT', scheduled, '-inf', now),
  oldest,
  workers,
  reports,
}}
