-- The journal: append-only streams of records, packed into chunks, fenced by epochs.
-- Run inside one transaction by journal/migrate.ts; every statement may be run twice.

create schema if not exists daybook;

create table if not exists daybook.book (
  only_row boolean primary key default true check (only_row),
  id uuid not null default gen_random_uuid(),
  created_at timestamptz not null default now(),
  -- Newest layout of slots over streams.
  generation int not null default 1,
  -- Stream of each slot: 1,024 times an int, big-endian.
  slots bytea not null,
  -- Newest version of records in any stream; a program that cannot read it must not take over.
  record_version int not null
);

create table if not exists daybook.stream (
  id int primary key,
  generation int not null,
  closed boolean not null default false,
  -- Raised by every take-over; a batch of an older epoch does not commit.
  epoch int not null default 0,
  -- Seq of the last record, and the digest of the last chunk.
  head bigint not null default 0,
  digest bytea not null default decode(repeat('00', 32), 'hex'),
  -- The process that writes, and the backend that it writes through.
  owner text,
  backend_pid int,
  backend_start timestamptz
);

create table if not exists daybook.journal (
  stream int not null,
  first_seq bigint not null,
  -- A record too large for one chunk goes on in parts 1, 2, … of the same first_seq.
  part smallint not null,
  -- Records that start in the chunk.
  n int not null,
  epoch int not null,
  -- Digest of the chunk before it.
  prev bytea not null,
  -- STORAGE PLAIN, set below: at most 7.8 KB, never compressed, never moved out of the row.
  payload bytea not null,
  primary key (stream, first_seq, part)
) partition by range (first_seq);

alter table daybook.journal alter column payload set storage plain;

-- Partitions of ten million seqs; returns the last seq of the one that holds p_seq. Attaching a table
-- locks out no reader and no writer.
create or replace function daybook.ensure_partition(p_seq bigint) returns bigint
language plpgsql as $$
declare
  size constant bigint := 10000000;
  lower constant bigint := (p_seq / size) * size;
  name constant text := 'journal_' || lpad((p_seq / size)::text, 6, '0');
begin
  perform pg_advisory_xact_lock(4849332, 1);
  if to_regclass('daybook.' || name) is not null then
    return lower + size - 1;
  end if;
  execute format('create table daybook.%I (like daybook.journal including all)', name);
  execute format('alter table daybook.%I alter column payload set storage plain', name);
  execute format('alter table daybook.%I add constraint %I check (first_seq >= %s and first_seq < %s)',
    name, name || '_range', lower, lower + size);
  execute format('alter table daybook.journal attach partition daybook.%I for values from (%s) to (%s)',
    name, lower, lower + size);
  return lower + size - 1;
end
$$;

-- Moves the stream's head, if it is still where the writer left it; last in each batch's transaction.
create or replace procedure daybook.fence(
  p_stream int, p_epoch int, p_head bigint, p_digest bytea, p_new_head bigint, p_new_digest bytea
)
language plpgsql as $$
begin
  update daybook.stream set head = p_new_head, digest = p_new_digest
  where id = p_stream and epoch = p_epoch and head = p_head and digest = p_digest and not closed;
  if not found then
    raise exception 'stream % is fenced', p_stream using errcode = 'DB001';
  end if;
end
$$;

-- Generation 1: one stream for all slots.
insert into daybook.stream (id, generation) values (1, 1) on conflict do nothing;
insert into daybook.book (slots, record_version)
values (decode(repeat('00000001', 1024), 'hex'), 1) on conflict do nothing;
select daybook.ensure_partition(0);
