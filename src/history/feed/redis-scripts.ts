/**
 * What is done in Redis, each in one step that nothing comes between: a script. Its effects reach
 * the append-only file and replicas together or not at all.
 *
 *     <prefix>:<book>:<stream>         the Redis stream: id <seq>-0, fields type, time, event
 *     <prefix>:<book>:<stream>:state   a hash that goes with it:
 *         first      every event from this seq on is in the stream, up to
 *         position   the seq up to which all has been delivered; digest: that of the journal there
 *         last       last id of the stream, and
 *         count      its length, as the feed left them
 *
 * The stream is the feed's alone. Where last and count are not those of the stream (it was emptied
 * or evicted, the end was lost, somebody else has added or removed entries), nobody can say what is
 * missing: the feed begins anew, and says so with `first`.
 */
const common = `
local stream, state = KEYS[1], KEYS[2]

local function last_id()
  if redis.call('EXISTS', stream) == 0 then return '0-0' end
  local info = redis.call('XINFO', 'STREAM', stream)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then return info[i + 1] end
  end
end

local function position()
  local kept = redis.call('HMGET', state, 'first', 'position', 'last', 'count')
  if not (kept[1] and kept[2]) then return '' end
  if kept[3] ~= last_id() or kept[4] ~= tostring(redis.call('XLEN', stream)) then return '' end
  return kept[2]
end
`

/** Answers position (empty: there is nothing to go on from) and the digest there. */
export const readScript = `${common}
return { position(), redis.call('HGET', state, 'digest') or '' }
`

/**
 * Empties the stream: what comes next follows on a seq. ARGV: the position that was seen (empty:
 * none), the new position, first. Answers 0 if the position is another one by now.
 */
export const beginScript = `${common}
if position() ~= ARGV[1] then return 0 end
redis.call('DEL', stream, state)
redis.call('HSET', state, 'first', ARGV[3], 'position', ARGV[2], 'last', '0-0', 'count', 0, 'digest', '')
return 1
`

/** Entries that one call takes away at most, so that a lowered limit does not hold Redis up. */
const trimEntriesMax = 1024

/** Arguments of {@link appendScript} before those of the events. */
const appendHeadArguments = 5

/**
 * Appends events and takes away the oldest. ARGV: the position before and after, the digest after,
 * entries to keep (0: all), the time in ms before which they go (0: never); then per event seq, type,
 * time, JSON. Answers 0, and does nothing, if the position is not the one before.
 */
export const appendScript = `${common}
if position() ~= ARGV[1] then return 0 end
for i = ${appendHeadArguments + 1}, #ARGV, 4 do
  redis.call('XADD', stream, ARGV[i] .. '-0',
    'type', ARGV[i + 1], 'time', ARGV[i + 2], 'event', ARGV[i + 3])
end

local kept, oldest = tonumber(ARGV[4]), tonumber(ARGV[5])
local length = redis.call('XLEN', stream)
local over = kept > 0 and length - kept or 0

local function is_old(entry) return tonumber(entry[2][4]) < oldest end

local look = math.min(over, ${trimEntriesMax})
if oldest > 0 then
  local entry = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  if entry and is_old(entry) then look = ${trimEntriesMax} end
end
if look > 0 then
  local gone, cut = 0, nil
  for i, entry in ipairs(redis.call('XRANGE', stream, '-', '+', 'COUNT', look)) do
    if i > over and not (oldest > 0 and is_old(entry)) then break end
    gone, cut = i, tonumber(string.match(entry[1], '^%d+'))
  end
  redis.call('XTRIM', stream, 'MAXLEN', '=', length - gone)
  redis.call('HSET', state, 'first', string.format('%.0f', cut + 1))
end
redis.call('HSET', state, 'position', ARGV[2], 'digest', ARGV[3],
  'last', last_id(), 'count', redis.call('XLEN', stream))
return 1
`
