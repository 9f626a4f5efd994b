-- The read models that follow the journal. Nothing here is the truth: the schema can be dropped at
-- any time, and is then built again from the journal (`daybook rebuild`). Every batch of rows is
-- written in one transaction with the progress of the streams that it comes from, so that what
-- progress says is here, and nothing else.

create schema daybook_history;

create table daybook_history.about (
  only_row boolean primary key default true check (only_row),
  version int not null,
  -- False while the rows are written before their indexes: nobody reads then.
  indexed boolean not null default false
);

create table daybook_history.progress (
  stream int primary key,
  -- Everything up to this record is here, nothing after it.
  seq bigint not null,
  digest bytea not null,
  recorded_at timestamptz not null
);

comment on table daybook_history.progress is 'How far each stream has been followed.';

create table daybook_history.account (
  tenant int not null,
  id uuid not null,
  -- Where and when it was created.
  stream int not null,
  seq bigint not null,
  created_at timestamptz not null,
  changed_at timestamptz not null,
  name text,
  currency text not null,
  scale smallint not null,
  class text not null,
  type text,
  owner text,
  number text,
  striped boolean not null,
  status text not null,
  -- Minor units; null: unlimited.
  overdraft_limit bigint,
  minimum_balance bigint not null,
  metadata jsonb
);

create table daybook_history.transaction (
  tenant int not null,
  id uuid not null,
  recorded_at timestamptz not null,
  -- The record that made it.
  stream int not null,
  seq bigint not null,
  -- As in the journal: 1 and 2 a transaction or a hold, 3 a post, 4 a void, 6 a reversal.
  kind smallint not null,
  -- As in src/actors/transactions.ts.
  state smallint not null,
  imported boolean not null,
  effective_date date not null,
  expires_at timestamptz,
  target uuid,
  -- The first posting, in minor units; null where nothing moves.
  debit uuid,
  credit uuid,
  amount bigint,
  currency text,
  scale smallint,
  -- The other postings: [debit, credit, amount, currency, scale], …
  more jsonb,
  -- Of a hold, per posting, in minor units.
  remaining bigint[],
  code bigint,
  name text,
  reference text,
  description text,
  category text,
  number text,
  metadata jsonb,
  principal int not null,
  correlation uuid not null,
  fingerprint bigint not null
) partition by range (recorded_at);

comment on table daybook_history.transaction is
  'Transactions by their ids, with what has become of them; partitioned by month.';

create table daybook_history.entry (
  tenant int not null,
  account uuid not null,
  -- The record in whose stream the account lived then, and which of its sides.
  stream int not null,
  recorded_at timestamptz not null,
  seq bigint not null,
  nr smallint not null,
  transaction uuid not null,
  counter_account uuid not null,
  -- Minor units: a debit is positive, a credit negative.
  amount bigint not null,
  -- Debits less credits up to here; of a striped account, of its part in this stream.
  balance bigint not null,
  -- All debits up to here, of the account or of its part: the credits are these less the balance.
  debits bigint not null,
  effective_date date not null,
  -- It took effect on another day (UTC) than it was recorded on.
  dated boolean not null,
  -- The record of another stream that this one follows.
  cause_stream int,
  cause_seq bigint
) partition by range (recorded_at);

comment on table daybook_history.entry is
  'What moved on each account, in recorded order; partitioned by month.';

create table daybook_history.hold (
  tenant int not null,
  account uuid not null,
  recorded_at timestamptz not null,
  transaction uuid not null
);

comment on table daybook_history.hold is
  'Holds by account: until they are posted they have no entries.';

create function daybook_history.ensure_month(month date) returns void language plpgsql as $$
declare
  first date := date_trunc('month', month);
  parent text;
begin
  foreach parent in array array['transaction', 'entry'] loop
    execute format(
      'create table if not exists daybook_history.%I partition of daybook_history.%I
         for values from (%L) to (%L)',
      parent || to_char(first, '_YYYY_MM'), parent,
      first::timestamp at time zone 'UTC',
      (first + interval '1 month')::timestamp at time zone 'UTC');
  end loop;
end $$;
