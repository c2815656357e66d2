-- What one RQ queue looks like. Reads only; constant work but for the workers.
-- ARGV: stats.rs; the answer: queue/src/stats/answer.rs.
local P, Q = ARGV[1], ARGV[2]
local time = redis.call('TIME')
local seconds, micros = tonumber(time[1]), tonumber(time[2])
local queue, wip, members = P .. ':queue:' .. Q, P .. ':wip:' .. Q, P .. ':workers:' .. Q
local scheduled, trouble = P .. ':scheduled:' .. Q, P .. ':jobqueue-trouble:' .. Q
-- Ids that came back while an earlier run of them was in hand; the score of our leases has this offset.
local aside, OURS = P .. ':jobqueue:aside:' .. Q, 10000000000
local failed = redis.call('ZCARD', P .. ':failed:' .. Q)
-- Most queues at most moments: nothing to do, and nobody there. To ask so is less than half the work of asking for each.
if redis.call('EXISTS', queue, queue .. ':intermediate', wip, members, scheduled, trouble, aside) == 0 then
  return {seconds, micros, failed, false}
end
local enqueued = false
local head = redis.call('LINDEX', queue, 0)
if head then enqueued = redis.call('HGET', P .. ':job:' .. head, 'enqueued_at') end
-- Whoever writes into this Redis may write much: what is beyond is left out.
local MOST, LONGEST = tonumber(ARGV[3]), tonumber(ARGV[4])
local function cut(text, default) return string.sub(text or default, 1, LONGEST) end
local workers = {}
for i, key in ipairs(redis.call('SMEMBERS', members)) do
  if i > MOST then break end
  local f = redis.call('HMGET', key, 'last_heartbeat', 'death', 'state', 'hostname', 'successful_job_count',
    'failed_job_count', 'total_working_time', 'jobqueue_concurrency', 'current_job_working_time')
  if f[1] and not f[2] then
    local executions, running, at_work = key .. ':executions', 0, f[9]
    if at_work or f[8] then
      -- Ours may have thousands in hand.
      running = redis.call('SCARD', executions)
    else
      -- RQ 3 writes no working time, but when a run began.
      local runs = redis.call('SMEMBERS', executions)
      running = #runs
      local began = running == 1 and redis.call('HGET', P .. ':execution:' .. runs[1], 'created_at')
      at_work = began and 'since ' .. began
    end
    workers[#workers + 1] = {cut(string.sub(key, #P + 9)), cut(f[1]), cut(f[3], ''), cut(f[4], ''), cut(f[5], '0'),
      cut(f[6], '0'), cut(f[7], '0'), cut(f[8], '1'), running, cut(at_work, '')}
  end
end
local reports = {}
for i, report in ipairs(redis.call('HVALS', trouble)) do
  if i > MOST then break end
  reports[i] = string.sub(report, 1, 4 * LONGEST)
end
-- Whose lease ended more than a minute ago is in nobody's hands: one worker is enough to find them, however many.
local held = redis.call('ZCOUNT', wip, seconds - 60, '(' .. OURS)
  + redis.call('ZCOUNT', wip, string.format('%d', OURS + seconds - 60), '+inf')
local lost = redis.call('ZCARD', wip) > held and 1 or 0
return {seconds, micros, failed, {
  redis.call('LLEN', queue) + redis.call('ZCARD', aside),
  held + lost + redis.call('LLEN', queue .. ':intermediate'),
  redis.call('ZCARD', scheduled),
  redis.call('ZCOUNT', scheduled, 0, seconds),
  cut(enqueued, ''),
  workers,
  reports,
}}
