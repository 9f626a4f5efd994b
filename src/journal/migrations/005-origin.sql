-- Where a restored book comes from. Without finished_at the restore is under way, or was broken off,
-- and nothing may start on the book (src/snapshots/restore-target.ts).

create table if not exists daybook.origin (
  only_row boolean primary key default true check (only_row),
  book_id uuid not null,
  position text not null,
  time timestamptz,
  started_at timestamptz not null default now(),
  finished_at timestamptz
);

comment on table daybook.origin is 'The book that this one was restored from; empty if it was not.';
comment on column daybook.origin.book_id is 'Id of the book that was read.';
comment on column daybook.origin.position is
  'Its book position, as stream-seq of each stream of one generation.';
comment on column daybook.origin.time is 'The moment that was asked for, if it was a moment.';
comment on column daybook.origin.finished_at is
  'When all was there; without it the book is half restored, and no server starts on it.';
