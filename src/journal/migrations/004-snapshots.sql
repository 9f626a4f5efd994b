-- Snapshots of the book, unless they are kept elsewhere. One that is being built has no manifest
-- yet; its builder holds the advisory lock (4849333, number) for as long as it lives. One without a
-- manifest whose lock is free was given up, or is half removed: a sweep removes it.

create table if not exists daybook.snapshot (
  number int generated always as identity primary key,
  book_id uuid not null,
  id uuid not null unique,
  created_at timestamptz not null default now(),
  -- What it is made of, with its own checksum (src/snapshots/manifest.ts).
  manifest bytea
);

create table if not exists daybook.snapshot_block (
  snapshot int not null references daybook.snapshot (number) on delete cascade,
  number int not null,
  -- STORAGE EXTERNAL, set below: numbers that do not compress, in rows of up to some MB.
  payload bytea not null,
  primary key (snapshot, number)
);

alter table daybook.snapshot_block alter column payload set storage external;

comment on table daybook.snapshot is
  'A snapshot: the state of all actors at one book position, from which a start goes on. Without a manifest it is being built or removed, or was given up.';
comment on column daybook.snapshot.manifest is 'DAYBSNAP, u32 version, SHA-256 of the rest, then msgpack.';
comment on table daybook.snapshot_block is 'The columns of a snapshot, in blocks that the manifest lists.';
