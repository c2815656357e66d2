-- Takes jobs from several queues, earlier ones first. What is in a list is looked at first and taken last: whatever Redis
-- refuses, it refuses before.
-- ARGV and answer: claim.rs.

local most, lease, worker, seed = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4]
local now = now_ms()
local jobs, dropped, errors = {}, {}, {}
-- Ids of the queue at hand that were begun, with the attempts that they had.
local begun = {}

local function hand_out(q, index, id, attempt, record, run)
  local execution = seed .. '-' .. (#jobs + 1)
  begun[#begun + 1] = {id, attempt - 1}
  redis.call('HSET', job_key(q, id), 'record', record, 'execution', execution, 'worker', worker, 'attempts', attempt,
    'run', run, 'lease', lease)
  redis.call('ZADD', q.prefix .. ':lease', lease_end(now, lease, #jobs), id)
  jobs[#jobs + 1] = {index, id, execution, attempt, record, run}
end

-- Jobs that were given back, reclaimed or came due stand before the backlog.
local function serve_ready(q, index)
  local ready = q.prefix .. ':ready'
  while #jobs < most do
    local ids = redis.call('LRANGE', ready, 0, most - #jobs - 1)
    if #ids == 0 then return end
    begun = {}
    for _, id in ipairs(ids) do
      local known = redis.call('HMGET', job_key(q, id), 'record', 'attempts', 'run')
      if known[1] then
        local attempt = (tonumber(known[2]) or 0) + 1
        hand_out(q, index, id, attempt, known[1], known[3] or '')
        resume(q, id, worker, attempt)
      else
        note_failure(q, id, now, 'its record is gone from Redis')
        redis.call('ZADD', q.prefix .. ':failed', now, id)
        dropped[#dropped + 1] = {index, id, 'its record is gone from Redis'}
      end
    end
    redis.call('LPOP', ready, #ids)
  end
end

local function serve(q, index)
  serve_ready(q, index)
  begun = {}
  if #jobs < most then take(q, most - #jobs, now, worker, seed, function(id, record, run) hand_out(q, index, id, 1, record, run) end) end
end

-- What was begun when Redis refused something stays where it was.
local function put_back(q)
  -- A number that was not used up must not be skipped: the run is made of it.
  if q.counted then redis.pcall('INCRBY', q.prefix .. ':seq', -q.counted) end
  for _, one in ipairs(begun) do
    local id, attempts = one[1], one[2]
    redis.pcall('ZREM', q.prefix .. ':lease', id)
    if attempts == 0 then
      redis.pcall('DEL', job_key(q, id))
    else
      redis.pcall('HDEL', job_key(q, id), 'execution')
      redis.pcall('HSET', job_key(q, id), 'attempts', attempts)
    end
  end
end

for i = 5, #ARGV, 3 do
  local index = (i - 5) / 3
  local q = {key = ARGV[i], prefix = ARGV[i + 1], group = ARGV[i + 2]}
  local before, said = #jobs, #dropped
  local ok, err = pcall(serve, q, index)
  if not ok then
    put_back(q)
    for _ = 1, #begun do
      if #jobs > before then jobs[#jobs] = nil end
    end
    errors[#errors + 1] = {index, message(err)}
  end
end
return {jobs, dropped, errors}
