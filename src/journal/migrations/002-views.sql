-- What an auditor reads with psql, without our code: every record, posting, hold, account and
-- balance, decoded from the journal's chunks. The file can be run again at any time. It needs no
-- extension and no special right. docs/ and src/journal/ describe the record layout:
--
--   0 kind u8 | 1 version u8 | 2 flags u16 | 4 length u32 | 8 time i64 | 16 tenant u32
--   20 principal u32 | 24 correlation id 16 | 40 id 16 | 56 fingerprint 8 | 64 body
--   body of kind 1: debit 16 @64, credit 16 @80, amount i64 @96, currency 8 @104,
--   effective date i32 @112, code u32 @116; every other body is one msgpack map
--
-- No function here has an exception block: Postgres 15 starts no subtransaction in a parallel
-- worker, so one would fail just when a large scan goes parallel.

-- Readers of little-endian numbers. They are one expression each, so that the planner inlines them.
-- In Postgres | and << bind equally, hence the parentheses.

create or replace function daybook.le_uint16(bytes bytea, at int) returns int
language sql immutable strict parallel safe
return get_byte(bytes, at) | (get_byte(bytes, at + 1) << 8);

create or replace function daybook.le_int32(bytes bytea, at int) returns int
language sql immutable strict parallel safe
return get_byte(bytes, at) | (get_byte(bytes, at + 1) << 8)
  | (get_byte(bytes, at + 2) << 16) | (get_byte(bytes, at + 3) << 24);

create or replace function daybook.le_uint32(bytes bytea, at int) returns bigint
language sql immutable strict parallel safe
return daybook.le_int32(bytes, at)::bigint & 4294967295;

create or replace function daybook.le_int64(bytes bytea, at int) returns bigint
language sql immutable strict parallel safe
return (daybook.le_int32(bytes, at)::bigint & 4294967295)
  | (daybook.le_int32(bytes, at + 4)::bigint << 32);

create or replace function daybook.key_uuid(bytes bytea, at int) returns uuid
language sql immutable strict parallel safe
return encode(substring(bytes from at + 1 for 16), 'hex')::uuid;

create or replace function daybook.key_text(key bytea) returns text
language sql immutable strict parallel safe
return case when octet_length(key) = 16
  then encode(key, 'hex')::uuid::text else encode(key, 'hex') end;

create or replace function daybook.instant(ms bigint) returns timestamptz
language sql immutable strict parallel safe
return to_timestamp(ms / 1000.0::float8);

-- A product of numerics is exact and keeps the scale, which a quotient does not promise.
create or replace function daybook.major_units(minor bigint, scale int) returns numeric
language sql immutable strict parallel safe
return minor::numeric * ('{1,.1,.01,.001,.0001,.00001,.000001,.0000001,.00000001,.000000001,'
  '.0000000001,.00000000001,.000000000001,.0000000000001,.00000000000001,.000000000000001}'
  ::numeric[])[scale + 1];

create or replace function daybook.kind_text(kind int) returns text
language sql immutable strict parallel safe
return case kind
  when 1 then 'posting' when 2 then 'transaction' when 3 then 'hold_posted'
  when 4 then 'hold_voided' when 5 then 'hold_expired' when 6 then 'reversal'
  when 7 then 'account_created' when 8 then 'account_changed' else 'kind_' || kind end;

-- extra_float_digits is pinned, because a session may lower it and so lose digits.
create or replace function daybook.msgpack_float(bits bigint, wide boolean) returns text
language plpgsql immutable strict parallel safe set extra_float_digits = 1 as $$
declare
  digits int := case when wide then 52 else 23 end;
  exponent_max int := case when wide then 2047 else 255 end;
  exponent int := (bits >> digits) & exponent_max;
  fraction float8 := (bits & ((1::bigint << digits) - 1)) * power(2::float8, -digits);
  sign float8 := case when (bits >> (case when wide then 63 else 31 end)) & 1 = 1 then -1 else 1 end;
begin
  if exponent = exponent_max then
    return case when fraction <> 0 then '"NaN"' when sign < 0 then '"-Infinity"' else '"Infinity"' end;
  elsif exponent = 0 then
    return (sign * fraction * power(2::float8, 1 - exponent_max / 2))::text;
  end if;
  return (sign * (1 + fraction) * power(2::float8, exponent - exponent_max / 2))::text;
end $$;

-- The regular expression is valid UTF-8 without NUL, byte for byte in hex.
create or replace function daybook.msgpack_string(bytes bytea) returns text
language plpgsql immutable strict parallel safe as $$
begin
  if encode(bytes, 'hex') ~ ('^(?:0[1-9a-f]|[1-7][0-9a-f]|(?:c[2-9a-f]|d[0-9a-f])[89ab][0-9a-f]'
    || '|(?:e0[ab]|ed[89]|e[1-9abcef][89ab])[0-9a-f][89ab][0-9a-f]'
    || '|(?:f0[9ab]|f[123][89ab]|f48)[0-9a-f](?:[89ab][0-9a-f]){2})*$') then
    return to_json(convert_from(bytes, 'UTF8'))::text;
  end if;
  return '{"utf8": "' || encode(bytes, 'hex') || '"}';
end $$;

create or replace function daybook.msgpack_ext(type int, bytes bytea) returns text
language plpgsql immutable strict parallel safe as $$
declare
  bits bigint;
  seconds bigint;
  nanoseconds bigint := 0;
begin
  if type = -1 and octet_length(bytes) = 4 then
    seconds := ('x' || encode(bytes, 'hex'))::bit(32)::bigint;
  elsif type = -1 and octet_length(bytes) = 8 then
    bits := ('x' || encode(bytes, 'hex'))::bit(64)::bigint;
    seconds := bits & 17179869183;
    nanoseconds := (bits >> 34) & 1073741823;
  elsif type = -1 and octet_length(bytes) = 12 then
    nanoseconds := ('x' || encode(substring(bytes for 4), 'hex'))::bit(32)::bigint;
    seconds := ('x' || encode(substring(bytes from 5), 'hex'))::bit(64)::bigint;
  end if;
  -- Years 1 to 9999, which ISO text and timestamp have in common; anything else stays raw.
  if seconds between -62135596800 and 253402300799 and nanoseconds < 1000000000 then
    return '"' || to_char(timestamp 'epoch' + seconds * interval '1 second', 'YYYY-MM-DD"T"HH24:MI:SS')
      || '.' || regexp_replace(lpad(nanoseconds::text, 9, '0'), '(000|000000)$', '') || 'Z"';
  end if;
  return '{"ext": ' || type || ', "data": "' || encode(bytes, 'hex') || '"}';
end $$;

-- One pass over the bytes, which writes JSON text and casts it once. `left_over` counts the values
-- that the innermost open array or map still wants (a map wants two for each entry); those of the
-- levels around it wait in the stacks. Finished text moves from `json` to `pieces`, so that a
-- large body is not copied for every value.
create or replace function daybook.msgpack_to_jsonb(packed bytea) returns jsonb
language plpgsql immutable strict parallel safe cost 5000 as $$
declare
  size int := octet_length(packed);
  at int := 0;
  head int;
  width int;
  count bigint;
  token text;
  json text := '';
  pieces text[] := '{}';
  depth int := 0;
  in_map boolean := false;
  left_over int := 1;
  map_stack boolean[] := '{}';
  left_stack int[] := '{}';
  opens boolean;
begin
  loop
    if at >= size then
      raise exception 'msgpack is truncated: it ends at byte %, where a value should begin', size
        using errcode = 'invalid_binary_representation';
    end if;
    head := get_byte(packed, at);
    at := at + 1;
    opens := false;
    -- The bytes of a length or number that follow the head, and for the short forms the count.
    width := 0;
    count := null;
    if head < 128 then
      token := head::text;
    elsif head < 144 then
      count := head & 15;
    elsif head < 160 then
      count := head & 15;
    elsif head < 192 then
      count := head & 31;
    elsif head >= 224 then
      token := (head - 256)::text;
    else
      width := case head
        when 196 then 1 when 197 then 2 when 198 then 4 -- bin
        when 199 then 1 when 200 then 2 when 201 then 4 -- ext
        when 202 then 4 when 203 then 8 -- float
        when 204 then 1 when 205 then 2 when 206 then 4 when 207 then 8 -- unsigned
        when 208 then 1 when 209 then 2 when 210 then 4 when 211 then 8 -- signed
        when 217 then 1 when 218 then 2 when 219 then 4 -- str
        when 220 then 2 when 221 then 4 -- array
        when 222 then 2 when 223 then 4 -- map
        else 0 end;
      if width > 0 then
        if size - at < width then
          raise exception 'msgpack is truncated: the number at byte % wants % bytes, % are left',
            at, width, size - at using errcode = 'invalid_binary_representation';
        end if;
        if width = 1 then
          count := get_byte(packed, at);
        else
          -- Shorter numbers stand in the high bits; the shift brings them down.
          count := ('x' || encode(substring(packed from at + 1 for width), 'hex'))::bit(64)::bigint;
          if width = 2 then
            count := (count >> 48) & 65535;
          elsif width = 4 then
            count := (count >> 32) & 4294967295;
          end if;
        end if;
        at := at + width;
      elsif head between 212 and 216 then
        count := 1 << (head - 212);
      end if;
    end if;

    if head < 128 or head >= 224 then
      null;
    elsif head between 160 and 191 or head between 217 and 219 then
      if count > size - at then
        raise exception 'msgpack is truncated: the string at byte % wants % bytes, % are left',
          at, count, size - at using errcode = 'invalid_binary_representation';
      end if;
      -- The escape format leaves plain ASCII as it is, and makes anything else longer.
      token := encode(substring(packed from at + 1 for count::int), 'escape');
      if octet_length(token) = count then
        token := to_json(token)::text;
      else
        token := daybook.msgpack_string(substring(packed from at + 1 for count::int));
      end if;
      at := at + count::int;
    elsif head between 204 and 206 then
      token := count::text;
    elsif head = 211 then
      token := count::text;
    elsif head between 196 and 198 then
      if count > size - at then
        raise exception 'msgpack is truncated: the bytes at byte % want % bytes, % are left',
          at, count, size - at using errcode = 'invalid_binary_representation';
      end if;
      token := '"' || daybook.key_text(substring(packed from at + 1 for count::int)) || '"';
      at := at + count::int;
    elsif head < 160 or head between 220 and 223 then
      opens := true;
      -- A value is at least one byte, so more values than bytes cannot be complete.
      if count * (case when head < 144 or head >= 222 then 2 else 1 end) > size - at then
        raise exception 'msgpack is truncated: the array or map at byte % wants % entries, % bytes are left',
          at, count, size - at using errcode = 'invalid_binary_representation';
      end if;
    elsif head = 192 then
      token := 'null';
    elsif head = 194 then
      token := 'false';
    elsif head = 195 then
      token := 'true';
    elsif head = 202 then
      token := daybook.msgpack_float(count, false);
    elsif head = 203 then
      token := daybook.msgpack_float(count, true);
    elsif head = 207 then
      token := (case when count < 0 then count + 18446744073709551616 else count end)::text;
    elsif head between 208 and 210 then
      -- Two's complement of `width` bytes.
      token := (case when count >= 1::bigint << (8 * width - 1)
        then count - (1::bigint << (8 * width)) else count end)::text;
    elsif head between 199 and 201 or head between 212 and 216 then
      if count + 1 > size - at then
        raise exception 'msgpack is truncated: the extension at byte % wants % bytes, % are left',
          at, count + 1, size - at using errcode = 'invalid_binary_representation';
      end if;
      width := get_byte(packed, at);
      token := daybook.msgpack_ext(case when width > 127 then width - 256 else width end,
        substring(packed from at + 2 for count::int));
      at := at + 1 + count::int;
    else
      raise exception 'not msgpack: byte % is c1, which is never used', at - 1
        using errcode = 'invalid_binary_representation';
    end if;

    if in_map and left_over % 2 = 0 then
      if opens then
        raise exception 'not JSON: the map key at byte % is an array or a map', at
          using errcode = 'invalid_binary_representation';
      end if;
      json := json || (case when left(token, 1) = '"' then token else to_json(token)::text end) || ':';
      left_over := left_over - 1;
      continue;
    end if;
    left_over := left_over - 1;
    if opens and count > 0 then
      depth := depth + 1;
      map_stack[depth] := in_map;
      left_stack[depth] := left_over;
      in_map := head < 144 or head >= 222;
      left_over := count * (case when in_map then 2 else 1 end);
      json := json || (case when in_map then '{' else '[' end);
      continue;
    elsif opens then
      json := json || (case when head < 144 or head >= 222 then '{}' else '[]' end);
    else
      json := json || token;
    end if;
    while left_over = 0 and depth > 0 loop
      json := json || (case when in_map then '}' else ']' end);
      in_map := map_stack[depth];
      left_over := left_stack[depth];
      depth := depth - 1;
    end loop;
    exit when left_over = 0;
    json := json || ',';
    if octet_length(json) > 4000 then
      pieces := array_append(pieces, json);
      json := '';
    end if;
  end loop;
  if at < size then
    raise exception 'not one msgpack value: % bytes follow it', size - at
      using errcode = 'invalid_binary_representation';
  end if;
  return (array_to_string(pieces, '') || json)::jsonb;
end $$;

-- A kind of zero is padding, because records begin at multiples of 8 and no kind is 0.
create or replace function daybook.chunk_records(
  stream int, first_seq bigint, n int, payload bytea, out seq bigint, out bytes bytea)
returns setof record language plpgsql immutable parallel safe cost 1000 rows 60 as $$
declare
  size int := octet_length(payload);
  at int := 0;
  kind int;
  length int;
begin
  seq := first_seq;
  while at < size loop
    kind := get_byte(payload, at);
    if kind = 0 then
      at := at + 8;
      continue;
    end if;
    length := case when size - at < 64 then -1 else daybook.le_int32(payload, at + 4) end;
    if length < (case kind when 1 then 120 else 65 end) or length > size - at then
      raise exception 'stream %, seq %: the record at byte % of its chunk is truncated (length %, % bytes left)',
        stream, seq, at, length, size - at using errcode = 'data_corrupted';
    elsif get_byte(payload, at + 1) <> 1 then
      raise exception 'stream %, seq %: record version % is not one that these views can read',
        stream, seq, get_byte(payload, at + 1) using errcode = 'feature_not_supported';
    end if;
    bytes := substring(payload from at + 1 for length);
    return next;
    seq := seq + 1;
    at := at + ((length + 7) & ~7);
  end loop;
  if seq - first_seq <> n then
    raise exception 'stream %, seq %: the chunk says % records and holds %',
      stream, first_seq, n, seq - first_seq using errcode = 'data_corrupted';
  end if;
end $$;

-- `offset 0` keeps the planner from repeating the lookup of the parts in every place that reads
-- the payload. It stands inside the lateral, so that filters still reach the table.
create or replace view daybook.record_bytes as
select j.stream, r.seq, r.bytes, j.first_seq
from daybook.journal j
cross join lateral (
  select case
    when octet_length(j.payload) < 8 then j.payload
    when daybook.le_uint32(j.payload, 4) > octet_length(j.payload) then (
      select string_agg(p.payload, ''::bytea order by p.part)
      from daybook.journal p where p.stream = j.stream and p.first_seq = j.first_seq)
    else j.payload end as payload
  offset 0) whole
cross join lateral daybook.chunk_records(j.stream, j.first_seq, j.n, whole.payload) r
where j.part = 0;

create or replace view daybook.records as
select
  r.stream,
  r.seq,
  daybook.kind_text(get_byte(r.bytes, 0)) as kind,
  get_byte(r.bytes, 1) as version,
  daybook.instant(daybook.le_int64(r.bytes, 8)) as time,
  daybook.le_uint32(r.bytes, 16) as tenant,
  daybook.le_uint32(r.bytes, 20) as principal,
  daybook.key_uuid(r.bytes, 24) as correlation_id,
  daybook.key_uuid(r.bytes, 40) as id,
  encode(substring(r.bytes from 57 for 8), 'hex') as fingerprint,
  get_byte(r.bytes, 2) & 1 = 1 as imported,
  get_byte(r.bytes, 2) & 2 = 2 as pending,
  case when get_byte(r.bytes, 0) <> 1 then daybook.msgpack_to_jsonb(substring(r.bytes from 65))
    else jsonb_strip_nulls(jsonb_build_object(
      'postings', jsonb_build_array(jsonb_build_array(
        daybook.key_uuid(r.bytes, 64),
        daybook.key_uuid(r.bytes, 80),
        daybook.le_int64(r.bytes, 96),
        encode(rtrim(substring(r.bytes from 105 for 8), '\x00'::bytea), 'escape'),
        get_byte(r.bytes, 3) >> 4)),
      'effectiveDate', daybook.le_int32(r.bytes, 112),
      'code', nullif(daybook.le_uint32(r.bytes, 116), 0))) end as body,
  r.first_seq
from daybook.record_bytes r;

-- The chunk that holds from_seq may begin before it. One expression, so that it is inlined.
create or replace function daybook.records_between(stream int, from_seq bigint, to_seq bigint)
returns setof daybook.records language sql stable parallel safe
begin atomic
  select r.* from daybook.records r
  where r.stream = records_between.stream
    and r.first_seq >= coalesce((
      select max(j.first_seq) from daybook.journal j
      where j.stream = records_between.stream and j.first_seq <= from_seq), from_seq)
    and r.first_seq <= to_seq
    and r.seq between from_seq and to_seq;
end;

-- Every posting in a record, holds included. One scan of the journal: kind 1 is read in place, and
-- only the kinds that can carry postings are decoded.
create or replace view daybook.record_postings as
select
  r.stream,
  r.seq,
  p.posting,
  daybook.instant(daybook.le_int64(r.bytes, 8)) as time,
  daybook.kind_text(get_byte(r.bytes, 0)) as kind,
  daybook.key_uuid(r.bytes, 40) as transaction_id,
  p.debit,
  p.credit,
  daybook.major_units(p.amount_minor, p.scale) as amount,
  p.amount_minor,
  p.currency,
  date '1970-01-01' + p.effective_day as effective_date,
  p.code,
  get_byte(r.bytes, 2) & 1 = 1 as imported,
  p.pending,
  daybook.le_uint32(r.bytes, 16) as tenant,
  p.target,
  p.expires_at,
  r.first_seq
from daybook.record_bytes r
cross join lateral (
  select
    0 as posting,
    daybook.key_uuid(r.bytes, 64) as debit,
    daybook.key_uuid(r.bytes, 80) as credit,
    daybook.le_int64(r.bytes, 96) as amount_minor,
    encode(rtrim(substring(r.bytes from 105 for 8), '\x00'::bytea), 'escape') as currency,
    get_byte(r.bytes, 3) >> 4 as scale,
    daybook.le_int32(r.bytes, 112) as effective_day,
    daybook.le_uint32(r.bytes, 116) as code,
    get_byte(r.bytes, 2) & 2 = 2 as pending,
    null::uuid as target,
    null::timestamptz as expires_at
  where get_byte(r.bytes, 0) = 1
  union all
  select
    (e.number - 1)::int,
    (e.posting ->> 0)::uuid,
    (e.posting ->> 1)::uuid,
    (e.posting ->> 2)::bigint,
    e.posting ->> 3,
    (e.posting ->> 4)::int,
    (b.body ->> 'effectiveDate')::int,
    coalesce((b.body ->> 'code')::bigint, 0),
    get_byte(r.bytes, 0) = 2 and get_byte(r.bytes, 2) & 2 = 2,
    (b.body ->> 'target')::uuid,
    daybook.instant((b.body ->> 'expiresAt')::bigint)
  from (
    select daybook.msgpack_to_jsonb(substring(r.bytes from 65)) as body
    where get_byte(r.bytes, 0) in (2, 3, 6)
    offset 0) b
  cross join lateral jsonb_array_elements(b.body -> 'postings') with ordinality e (posting, number)
) p;

create or replace view daybook.postings as
select stream, seq, posting, time, kind, transaction_id, debit, credit, amount, amount_minor,
  currency, effective_date, code, imported, pending, tenant, target, first_seq
from daybook.record_postings
where not pending and amount_minor <> 0;

-- What a post, a void or an expiry takes from each posting of its hold: the amount that it posts and
-- the amount that it releases besides. Both lists stand in the order of the hold's postings.
create or replace view daybook.holds as
with followed as (
  select daybook.le_uint32(b.bytes, 16) as tenant, get_byte(b.bytes, 0) as kind,
    daybook.msgpack_to_jsonb(substring(b.bytes from 65)) as body
  from daybook.record_bytes b where get_byte(b.bytes, 0) in (3, 4, 5)
), ended as (
  select tenant, (body ->> 'target')::uuid as hold_id,
    max(case kind when 3 then 'posted' when 4 then 'voided' else 'expired' end) as status
  from followed
  where not coalesce((body ->> 'kept')::boolean, false)
  group by 1, 2
), taken as (
  select f.tenant, (f.body ->> 'target')::uuid as hold_id, (t.number - 1)::int as posting,
    sum(t.minor) as minor
  from followed f
  cross join lateral (
    select e.value::bigint as minor, e.number
    from jsonb_array_elements_text(f.body -> 'released') with ordinality e (value, number)
    union all
    select (e.value ->> 2)::bigint, e.number
    from jsonb_array_elements(f.body -> 'postings') with ordinality e (value, number)
  ) t
  group by 1, 2, 3
)
select
  p.stream, p.seq, p.posting, p.time, p.transaction_id, p.debit, p.credit, p.amount, p.amount_minor,
  p.currency, p.effective_date, p.code, p.imported, p.expires_at, p.tenant,
  p.amount_minor - coalesce(t.minor, 0) as remaining_minor,
  coalesce(e.status, 'pending') as status,
  p.first_seq
from daybook.record_postings p
left join taken t
  on t.tenant = p.tenant and t.hold_id = p.transaction_id and t.posting = p.posting
left join ended e on e.tenant = p.tenant and e.hold_id = p.transaction_id
where p.pending;

create or replace view daybook.balances as
select p.tenant, s.account, p.currency,
  sum(s.debit) as debits_posted, sum(s.credit) as credits_posted,
  sum(s.debit_minor) as debits_posted_minor, sum(s.credit_minor) as credits_posted_minor
from daybook.postings p
-- The difference of an amount with itself is a zero that has the currency's decimals.
cross join lateral (values
  (p.debit, p.amount, p.amount - p.amount, p.amount_minor, 0::bigint),
  (p.credit, p.amount - p.amount, p.amount, 0::bigint, p.amount_minor)
) s (account, debit, credit, debit_minor, credit_minor)
group by p.tenant, s.account, p.currency;

create or replace view daybook.accounts as
select a.tenant, a.id,
  a.fields ->> 'name' as name,
  a.fields ->> 'currency' as currency,
  a.fields ->> 'class' as class,
  a.fields ->> 'type' as type,
  a.fields ->> 'owner' as owner,
  a.fields ->> 'number' as number,
  coalesce(a.fields ->> 'status', 'active') as status,
  daybook.major_units((a.fields ->> 'overdraftLimit')::bigint, (a.fields ->> 'scale')::int)
    as overdraft_limit,
  daybook.major_units((a.fields ->> 'minimumBalance')::bigint, (a.fields ->> 'scale')::int)
    as minimum_balance,
  a.fields -> 'metadata' as metadata,
  a.created_at, a.changed_at
from (
  select r.tenant, r.id,
    -- jsonb keeps the last of several values for one key.
    jsonb_object_agg(f.key, f.value order by s.generation, r.seq) as fields,
    min(r.time) filter (where r.kind = 'account_created') as created_at,
    max(r.time) filter (where r.kind = 'account_changed') as changed_at
  from (
    select b.stream, b.seq, daybook.le_uint32(b.bytes, 16) as tenant,
      daybook.key_uuid(b.bytes, 40) as id, daybook.instant(daybook.le_int64(b.bytes, 8)) as time,
      daybook.kind_text(get_byte(b.bytes, 0)) as kind,
      daybook.msgpack_to_jsonb(substring(b.bytes from 65)) as body
    from daybook.record_bytes b where get_byte(b.bytes, 0) in (7, 8)
    offset 0) r
  left join daybook.stream s on s.id = r.stream
  cross join lateral jsonb_each(r.body) f
  group by r.tenant, r.id
) a;

comment on function daybook.le_uint16(bytea, int) is 'The unsigned little-endian 16-bit number at a byte offset (from 0).';
comment on function daybook.le_int32(bytea, int) is 'The signed little-endian 32-bit number at a byte offset (from 0).';
comment on function daybook.le_uint32(bytea, int) is 'The unsigned little-endian 32-bit number at a byte offset (from 0).';
comment on function daybook.le_int64(bytea, int) is 'The signed little-endian 64-bit number at a byte offset (from 0).';
comment on function daybook.key_uuid(bytea, int) is 'The 128-bit key at a byte offset (from 0), as a UUID.';
comment on function daybook.key_text(bytea) is 'Bytes as text: 16 bytes as a UUID with dashes, any others as lower-case hex.';
comment on function daybook.instant(bigint) is 'Milliseconds since 1970 as a timestamp.';
comment on function daybook.major_units(bigint, int) is 'An amount in minor units as an exact decimal: (12550, 2) is 125.50.';
comment on function daybook.kind_text(int) is 'The name of a record kind; kind_<n> for one that these views do not know.';
comment on function daybook.msgpack_float(bigint, boolean) is 'JSON for the bits of a float64 (wide) or float32. NaN and the infinities become strings.';
comment on function daybook.msgpack_string(bytea) is 'JSON for UTF-8 bytes. Text that Postgres cannot hold (a NUL, or not valid UTF-8) becomes {"utf8": hex}.';
comment on function daybook.msgpack_ext(int, bytea) is 'JSON for a msgpack extension: a timestamp as ISO text, anything else as {"ext": type, "data": hex}.';
comment on function daybook.msgpack_to_jsonb(bytea) is
  'One msgpack value as jsonb. Integers are exact up to 64 bits; NaN, Infinity and -Infinity become these strings; binary becomes lower-case hex, 16 bytes a UUID; a timestamp becomes ISO text, another extension {"ext": type, "data": hex}; text that Postgres cannot hold (a NUL, or not valid UTF-8) becomes {"utf8": hex}. A map key that is not a string becomes its text; of equal keys the last counts. Truncated input and bytes left over are errors.';
comment on function daybook.chunk_records(int, bigint, int, bytea) is
  'The records of one chunk payload with their seq. Padding is skipped. A record that is cut off, of an unknown version, or a count other than n is an error that names the stream and the seq.';
comment on function daybook.records_between(int, bigint, bigint) is
  'daybook.records of one stream from one seq to another, both included. It reads only the chunks and partitions that hold them.';

comment on view daybook.record_bytes is
  'Every record as raw bytes, put together from its parts and without padding. Filter on stream and first_seq to read only some chunks and partitions.';
comment on view daybook.records is
  'Every record of the journal, decoded. A filter on seq reads the whole journal: use daybook.records_between(stream, from_seq, to_seq), or filter on stream and first_seq.';
comment on column daybook.records.stream is 'Stream; with seq the position of the record, written <stream>-<seq> by the API.';
comment on column daybook.records.seq is 'Number of the record in its stream, from 1 without gaps.';
comment on column daybook.records.kind is 'posting, transaction, hold_posted, hold_voided, hold_expired, reversal, account_created, account_changed.';
comment on column daybook.records.time is 'When it was recorded; never runs back within a stream.';
comment on column daybook.records.id is 'Key of the transaction, or of the account for account_created and account_changed. For hold_expired it is that of the hold.';
comment on column daybook.records.fingerprint is 'Hash of the request, in hex, by which a repeat of the id is told from another request.';
comment on column daybook.records.imported is 'Marked as imported history, which is exempt from limits.';
comment on column daybook.records.pending is 'A hold: it reserves and moves no money.';
comment on column daybook.records.body is
  'The rest of the record. postings is a list of [debit, credit, amount, currency, scale]. Amounts and limits are JSON numbers in minor units, which jsonb keeps exact at any size (read them with ->> and a cast to bigint or numeric, not through a float). Dates are days since 1970-01-01, times milliseconds since 1970. A record of kind posting is shown in the shape of a transaction.';
comment on column daybook.records.first_seq is 'First seq of the chunk that holds the record; a filter on it can use the index and skip partitions.';

comment on view daybook.record_postings is 'Every posting of every record, holds included. Use daybook.postings and daybook.holds.';
comment on view daybook.postings is
  'One row for each posting that moved money: of posting, transaction, hold_posted and reversal records. Holds are in daybook.holds. Filter on stream and first_seq to read only a part.';
comment on column daybook.postings.posting is 'Index of the posting in its transaction, from 0.';
comment on column daybook.postings.transaction_id is 'Key of the transaction. A post of a hold and a reversal have their own; see target.';
comment on column daybook.postings.debit is 'Account that is debited.';
comment on column daybook.postings.credit is 'Account that is credited.';
comment on column daybook.postings.amount is 'Exact amount in major units, with the decimals of the currency.';
comment on column daybook.postings.amount_minor is 'Amount in minor units.';
comment on column daybook.postings.code is 'Code given by the client; 0 if none was.';
comment on column daybook.postings.imported is 'Marked as imported history.';
comment on column daybook.postings.pending is 'Always false here.';
comment on column daybook.postings.target is 'The hold that was posted or the transaction that was reversed.';
comment on column daybook.postings.first_seq is 'First seq of the chunk; a filter on it can use the index and skip partitions.';

comment on view daybook.holds is
  'One row for each posting of a hold, with what is still reserved after the posts, void or expiry that followed.';
comment on column daybook.holds.transaction_id is 'Key of the hold.';
comment on column daybook.holds.amount is 'Amount reserved at first, exact, in major units.';
comment on column daybook.holds.amount_minor is 'Amount reserved at first, in minor units.';
comment on column daybook.holds.remaining_minor is 'What is still reserved, in minor units: the amount less what later records posted and what they released.';
comment on column daybook.holds.status is 'pending, posted, voided or expired, as recorded. A hold past expires_at is pending until its expiry is recorded.';

comment on view daybook.balances is
  'What the journal alone says was debited and credited, per tenant, account and currency; to compare with debitsPosted and creditsPosted of the API. An account without postings has no row. The sums of both sides are equal per tenant and currency.';
comment on column daybook.balances.debits_posted is 'Sum of debits, exact, in major units.';
comment on column daybook.balances.credits_posted is 'Sum of credits, exact, in major units.';
comment on column daybook.balances.debits_posted_minor is 'Sum of debits in minor units.';
comment on column daybook.balances.credits_posted_minor is 'Sum of credits in minor units.';

comment on view daybook.accounts is 'Every account as its creation and the latest change of each field left it.';
comment on column daybook.accounts.overdraft_limit is 'Exact, in major units; null is unlimited.';
comment on column daybook.accounts.minimum_balance is 'Exact, in major units.';
comment on column daybook.accounts.status is 'active, dormant, frozen or closed.';
comment on column daybook.accounts.changed_at is 'Time of the latest change; null if there was none.';
