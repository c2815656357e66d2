-- Failed jobs of a list or stream back among those that are served before the backlog, with all their attempts. One that
-- is not in the registry is left alone, and so a job is requeued once.
-- ARGV and answer: failed_jobs.rs.
local answers = {}
for i = 3, #ARGV do
  local id = ARGV[i]
  local job = ARGV[1] .. ':job:' .. id
  if not redis.call('ZSCORE', ARGV[1] .. ':failed', id) then
    answers[#answers + 1] = 'NOT_FAILED'
  elseif redis.call('HEXISTS', job, 'record') == 0 then
    redis.call('DEL', job)
    answers[#answers + 1] = 'GONE'
  else
    redis.call('HSET', job, 'attempts', 0)
    redis.call(ARGV[2], ARGV[1] .. ':ready', id)
    answers[#answers + 1] = 'QUEUED'
  end
  redis.call('ZREM', ARGV[1] .. ':failed', id)
end
return answers
