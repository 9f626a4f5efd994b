-- What has been moved from the journal to compressed files (src/snapshots/archive.ts), stream by
-- stream from seq 1 on, without gaps. A row is written when its file has been read back and checked,
-- and only then are rows of the journal deleted: from here on the file counts.

create table if not exists daybook.archive (
  stream int not null,
  first_seq bigint not null,
  last_seq bigint not null,
  -- Digest of the chunk that ends with last_seq.
  digest bytea not null,
  directory text not null,
  file text not null,
  archived_at timestamptz not null default now(),
  primary key (stream, first_seq)
);

comment on table daybook.archive is
  'Records that are in files and not, or not for long, in the journal. To read them, put them back with daybook archive --back, or set DAYBOOK_ARCHIVE_DIR.';
