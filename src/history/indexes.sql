-- What the API asks for. Built after the rows when everything is rebuilt, which is several times
-- faster than with them; those of entries beside all others, so that two backends work. A column
-- of UUIDs comes first where there is one: Postgres sorts by what is abbreviated of the first column,
-- and all rows may be of one tenant.

create unique index if not exists account_id on daybook_history.account (id, tenant);
create index if not exists account_created on daybook_history.account (tenant, created_at);
create index if not exists account_owner on daybook_history.account (tenant, owner) where owner is not null;
create index if not exists account_number on daybook_history.account (tenant, number) where number is not null;
create index if not exists account_name on daybook_history.account (tenant, name collate "C")
  where name is not null;
create index if not exists account_metadata on daybook_history.account
  using gin (metadata jsonb_path_ops) where metadata is not null;

create index if not exists transaction_id on daybook_history.transaction (id, tenant);
create index if not exists transaction_recorded on daybook_history.transaction (tenant, recorded_at);
create index if not exists transaction_reference on daybook_history.transaction (tenant, reference, recorded_at)
  where reference is not null;
create index if not exists transaction_category on daybook_history.transaction (tenant, category, recorded_at)
  where category is not null;
create index if not exists transaction_code on daybook_history.transaction (tenant, code, recorded_at)
  where code is not null;
create index if not exists transaction_number on daybook_history.transaction (tenant, number)
  where number is not null;
create index if not exists transaction_metadata on daybook_history.transaction
  using gin (metadata jsonb_path_ops) where metadata is not null;
create index if not exists transaction_pending on daybook_history.transaction (tenant, recorded_at)
  where state = 2;

create index if not exists entry_account on daybook_history.entry (account, tenant, stream, recorded_at);

-- Entries that took effect on another day than they were recorded on.
create index if not exists entry_dated on daybook_history.entry (tenant, account, effective_date)
  include (recorded_at, amount)
  where dated;

-- What streams did because of each other: those of one cause are in the order of their causes.
create index if not exists entry_caused on daybook_history.entry (stream, cause_stream, cause_seq)
  include (seq) where cause_stream is not null;

create index if not exists hold_account on daybook_history.hold (tenant, account, recorded_at);
