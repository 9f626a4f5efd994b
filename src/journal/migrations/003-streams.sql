-- What an auditor reads of a book with several streams. A transaction has one home record, of a kind
-- from 1 to 6, in one stream. Its other streams follow with records of kind 9 (of a plain posting)
-- or 10 (of any other record). Each record says of every posting where its two sides take effect:
--
--   0 here, 1 elsewhere (in another stream), 2 striped (here, on this stream's part of the account)
--
-- A plain posting and kind 9 say so in bits 2 and 3 (debit), 4 and 5 (credit) of the flags, other
-- kinds in a list `sides` of the body, one number debit + 4 * credit for each posting; without it all
-- sides are here. Flag 64: the id is not known through this record, but in another stream.
--
--   body of kind 9: as of kind 1, then stream of the cause u32 @120, 0 u32, seq of the cause i64 @128,
--   message i64 @136
--
-- The file can be run again at any time, and like 002-views.sql it uses no exception block.

create or replace function daybook.kind_text(kind int) returns text
language sql immutable strict parallel safe
return case kind
  when 1 then 'posting' when 2 then 'transaction' when 3 then 'hold_posted'
  when 4 then 'hold_voided' when 5 then 'hold_expired' when 6 then 'reversal'
  when 7 then 'account_created' when 8 then 'account_changed'
  when 9 then 'posting_applied' when 10 then 'applied' else 'kind_' || kind end;

create or replace function daybook.side_text(side int) returns text
language sql immutable strict parallel safe
return case side when 0 then 'here' when 1 then 'elsewhere' when 2 then 'striped'
  else 'side_' || side end;

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
    if length < (case kind when 1 then 120 when 9 then 144 else 65 end) or length > size - at then
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

-- The slots of closed generations are not kept: they were dealt out to the streams in turn.
create or replace view daybook.streams as
select s.id as stream, s.generation, s.closed, s.head, encode(s.digest, 'hex') as digest, s.epoch,
  s.owner, o.slots
from daybook.stream s
left join (
  select ('x' || encode(substring(b.slots from n * 4 + 1 for 4), 'hex'))::bit(32)::int as stream,
    count(*)::int as slots
  from daybook.book b cross join generate_series(0, octet_length(b.slots) / 4 - 1) n
  group by 1) o on o.stream = s.id;

-- The join with the streams disappears from a query that does not ask for the generation.
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
  b.body,
  r.first_seq,
  get_byte(r.bytes, 2) & 64 = 64 as id_elsewhere,
  daybook.kind_text((b.body ->> 'of')::int) as cause_kind,
  (b.body -> 'cause' ->> 0)::int as cause_stream,
  (b.body -> 'cause' ->> 1)::bigint as cause_seq,
  (b.body ->> 'message')::bigint as message,
  s.generation
from daybook.record_bytes r
left join daybook.stream s on s.id = r.stream
cross join lateral (
  select case when get_byte(r.bytes, 0) not in (1, 9)
    then daybook.msgpack_to_jsonb(substring(r.bytes from 65))
    else jsonb_strip_nulls(jsonb_build_object(
      'postings', jsonb_build_array(jsonb_build_array(
        daybook.key_uuid(r.bytes, 64),
        daybook.key_uuid(r.bytes, 80),
        daybook.le_int64(r.bytes, 96),
        encode(rtrim(substring(r.bytes from 105 for 8), '\x00'::bytea), 'escape'),
        get_byte(r.bytes, 3) >> 4)),
      'effectiveDate', daybook.le_int32(r.bytes, 112),
      'code', nullif(daybook.le_uint32(r.bytes, 116), 0),
      'sides', case when get_byte(r.bytes, 2) & 60 <> 0
        then jsonb_build_array((get_byte(r.bytes, 2) >> 2) & 15) end,
      'of', case when get_byte(r.bytes, 0) = 9 then 1 end,
      'cause', case when get_byte(r.bytes, 0) = 9 then jsonb_build_array(
        daybook.le_uint32(r.bytes, 120), daybook.le_int64(r.bytes, 128)) end,
      'message', case when get_byte(r.bytes, 0) = 9 then daybook.le_int64(r.bytes, 136) end))
    end as body
  offset 0) b;

-- As before: the columns of the view are written out in the function when it is made.
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

-- Every posting in a record, holds included, in home records and in those that follow. One scan of the
-- journal: kinds 1 and 9 are read in place, and only the kinds that can carry postings are decoded.
-- A void and an expiry name the accounts of their hold with zeros, which are no postings.
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
  r.first_seq,
  daybook.side_text(p.sides & 3) as debit_side,
  daybook.side_text(p.sides >> 2) as credit_side,
  get_byte(r.bytes, 0) in (9, 10) as applied
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
    null::timestamptz as expires_at,
    (get_byte(r.bytes, 2) >> 2) & 15 as sides
  where get_byte(r.bytes, 0) in (1, 9)
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
    b.of in (1, 2) and get_byte(r.bytes, 2) & 2 = 2,
    (b.body ->> 'target')::uuid,
    daybook.instant((b.body ->> 'expiresAt')::bigint),
    coalesce((b.body -> 'sides' ->> (e.number - 1)::int)::int, 0)
  from (
    select d.body, case get_byte(r.bytes, 0)
      when 10 then (d.body ->> 'of')::int else get_byte(r.bytes, 0) end as of
    from (
      select daybook.msgpack_to_jsonb(substring(r.bytes from 65)) as body
      where get_byte(r.bytes, 0) in (2, 3, 6, 10)
      offset 0) d
    offset 0) b
  cross join lateral jsonb_array_elements(b.body -> 'postings') with ordinality e (posting, number)
  where b.of in (1, 2, 3, 6)
) p;

-- The home record has all postings of its transaction, so each of them is here once.
create or replace view daybook.postings as
select stream, seq, posting, time, kind, transaction_id, debit, credit, amount, amount_minor,
  currency, effective_date, code, imported, pending, tenant, target, first_seq,
  debit_side, credit_side
from daybook.record_postings
where not pending and amount_minor <> 0 and not applied;

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
  p.first_seq, p.debit_side, p.credit_side
from daybook.record_postings p
left join taken t
  on t.tenant = p.tenant and t.hold_id = p.transaction_id and t.posting = p.posting
left join ended e on e.tenant = p.tenant and e.hold_id = p.transaction_id
where p.pending and not p.applied;

-- Each side counts in the one record where it takes effect.
create or replace view daybook.balances as
select p.tenant, s.account, p.currency,
  sum(s.debit) as debits_posted, sum(s.credit) as credits_posted,
  sum(s.debit_minor) as debits_posted_minor, sum(s.credit_minor) as credits_posted_minor
from daybook.record_postings p
-- The difference of an amount with itself is a zero that has the currency's decimals.
cross join lateral (values
  (p.debit, p.debit_side, p.amount, p.amount - p.amount, p.amount_minor, 0::bigint),
  (p.credit, p.credit_side, p.amount - p.amount, p.amount, 0::bigint, p.amount_minor)
) s (account, side, debit, credit, debit_minor, credit_minor)
where not p.pending and p.amount_minor <> 0 and s.side in ('here', 'striped')
group by p.tenant, s.account, p.currency;

-- A side that is elsewhere in the home record is here in one applied record, as soon as there is one.
create or replace view daybook.unapplied as
select tenant, account, currency,
  sum(debit_minor) as debits_minor, sum(credit_minor) as credits_minor
from (
  select p.tenant, s.account, p.currency, s.debit_minor, s.credit_minor
  from daybook.postings p
  cross join lateral (values
    (p.debit, p.debit_side, p.amount_minor, 0::bigint),
    (p.credit, p.credit_side, 0::bigint, p.amount_minor)
  ) s (account, side, debit_minor, credit_minor)
  where s.side = 'elsewhere'
  union all
  select p.tenant, s.account, p.currency, -s.debit_minor, -s.credit_minor
  from daybook.record_postings p
  cross join lateral (values
    (p.debit, p.debit_side, p.amount_minor, 0::bigint),
    (p.credit, p.credit_side, 0::bigint, p.amount_minor)
  ) s (account, side, debit_minor, credit_minor)
  where s.side in ('here', 'striped') and p.applied
    and not p.pending and p.amount_minor <> 0
) sides
group by tenant, account, currency
having sum(debit_minor) <> 0 or sum(credit_minor) <> 0;

-- Records of kinds 7 and 8 alone: what other streams apply of a striped account is the same again.
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
  a.created_at, a.changed_at,
  coalesce((a.fields ->> 'striped')::boolean, false) as striped
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

comment on function daybook.kind_text(int) is 'The name of a record kind; kind_<n> for one that these views do not know.';
comment on function daybook.side_text(int) is 'Where a side of a posting takes effect: here, elsewhere or striped; side_<n> for one that these views do not know.';
comment on function daybook.chunk_records(int, bigint, int, bytea) is
  'The records of one chunk payload with their seq. Padding is skipped. A record that is cut off, of an unknown version, or a count other than n is an error that names the stream and the seq.';
comment on function daybook.records_between(int, bigint, bigint) is
  'daybook.records of one stream from one seq to another, both included. It reads only the chunks and partitions that hold them.';

comment on view daybook.streams is
  'Every stream with its generation. The history of a slot is ordered by generation, then by seq; within a generation it is in one stream.';
comment on column daybook.streams.head is 'Seq of the last record.';
comment on column daybook.streams.digest is 'Digest of the last chunk, in hex.';
comment on column daybook.streams.slots is 'Slots that the stream owns; null if it is closed.';

comment on column daybook.records.kind is
  'posting, transaction, hold_posted, hold_voided, hold_expired, reversal, account_created, account_changed; and for what another stream''s record asks for here: posting_applied, applied.';
comment on column daybook.records.id_elsewhere is 'The id of the transaction is known through a record of another stream, not through this one.';
comment on column daybook.records.cause_kind is 'Of an applied record: kind of the record in another stream that it follows.';
comment on column daybook.records.cause_stream is 'Of an applied record: stream of the record that it follows.';
comment on column daybook.records.cause_seq is 'Of an applied record: seq of the record that it follows.';
comment on column daybook.records.message is 'Of an applied record: number of the message, from 1 without gaps for each pair of streams.';
comment on column daybook.records.generation is 'Generation of the stream.';
comment on column daybook.records.body is
  'The rest of the record. postings is a list of [debit, credit, amount, currency, scale]. Amounts and limits are JSON numbers in minor units, which jsonb keeps exact at any size (read them with ->> and a cast to bigint or numeric, not through a float). Dates are days since 1970-01-01, times milliseconds since 1970. sides has for each posting debit + 4 * credit, each 0 here, 1 elsewhere, 2 striped; all are here if it is absent. A record of kind posting or posting_applied is shown in the shape of a transaction.';

comment on view daybook.record_postings is
  'Every posting of every record, holds included, those of applied records too: a posting over several streams is here more than once, and each of its sides takes effect in one of these records. Use daybook.postings and daybook.holds.';
comment on column daybook.record_postings.applied is 'Of an applied record; the home record has the posting too.';
comment on view daybook.postings is
  'One row for each posting that moved money: of posting, transaction, hold_posted and reversal records, not of those that apply them in other streams. Holds are in daybook.holds. Filter on stream and first_seq to read only a part.';
comment on column daybook.postings.stream is 'Stream of the home record.';
comment on column daybook.postings.debit_side is 'Where the debit takes effect: here (in this stream), elsewhere, or striped (here, on this stream''s part of the account).';
comment on column daybook.postings.credit_side is 'Where the credit takes effect, as debit_side.';

comment on view daybook.holds is
  'One row for each posting of a hold, with what is still reserved after the posts, void or expiry that followed. Records that apply a hold in other streams are not shown.';
comment on column daybook.holds.debit_side is 'Where the debit is reserved: here (in this stream), elsewhere, or striped (here, on this stream''s part of the account).';
comment on column daybook.holds.credit_side is 'Where the credit is reserved, as debit_side.';

comment on view daybook.balances is
  'What the journal alone says was debited and credited, per tenant, account and currency, all parts of a striped account together; to compare with debitsPosted and creditsPosted of the API. Each side counts in the record where it takes effect. An account without postings has no row. With daybook.unapplied, the sums of both sides are equal per tenant and currency.';
comment on view daybook.unapplied is
  'What home records ask of accounts in other streams and these have not applied yet, per tenant, account and currency, in minor units. Empty when nothing is under way; a row that stays, or is negative, is an error.';

comment on view daybook.accounts is 'Every account as its creation and the latest change of each field left it.';
comment on column daybook.accounts.striped is 'Every stream keeps a part of the account, and the balance is their sum.';
