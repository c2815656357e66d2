-- Takes jobs from several queues, earlier ones first.
-- ARGV: most jobs, lease (ms), worker, execution prefix; then key, prefix and group of each queue.
-- Answer: {jobs, dropped, errors}; a job is {queue index, id, execution, attempt, record}.

local most, lease, worker, seed = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4]
local now = now_ms()
local jobs, dropped, errors = {}, {}, {}

local function hand_out(q, index, id, attempt, record)
  local execution = seed .. '-' .. (#jobs + 1)
  redis.call('HSET', job_key(q, id), 'record', record, 'execution', execution, 'worker', worker, 'attempts', attempt)
  redis.call('ZADD', q.prefix .. ':lease', lease_end(now, lease, #jobs), id)
  jobs[#jobs + 1] = {index, id, execution, attempt, record}
end

for i = 5, #ARGV, 3 do
  local index = (i - 5) / 3
  local q = {key = ARGV[i], prefix = ARGV[i + 1], group = ARGV[i + 2]}
  -- Jobs that were given back, reclaimed or came due stand before the backlog.
  while #jobs < most do
    local id = redis.call('LPOP', q.prefix .. ':ready')
    if not id then break end
    local known = redis.call('HMGET', job_key(q, id), 'record', 'attempts')
    if known[1] then
      local attempt = (tonumber(known[2]) or 0) + 1
      hand_out(q, index, id, attempt, known[1])
      resume(q, id, worker, attempt)
    else
      note_failure(q, id, now, 'its record is gone from Redis')
      redis.call('ZADD', q.prefix .. ':failed', now, id)
      dropped[#dropped + 1] = {index, id, 'its record is gone from Redis'}
    end
  end
  if #jobs < most then
    local taken, err = take(q, most - #jobs, now, worker)
    if err then errors[#errors + 1] = {index, err} end
    for _, element in ipairs(taken) do
      hand_out(q, index, element[1], 1, element[2])
    end
  end
end
return {jobs, dropped, errors}
