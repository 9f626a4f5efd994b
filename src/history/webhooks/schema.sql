-- Receivers of webhooks, how far each has been delivered to, and what became of it. Unlike the read
-- models this is nothing that the journal could give back: `daybook rebuild` leaves it alone.
create schema daybook_webhooks;

-- Of this schema; a program refuses one that is newer than it knows.
create table daybook_webhooks.about (version int not null);

create table daybook_webhooks.receiver (
  id uuid primary key,
  tenant bigint not null,
  url text not null,
  description text,
  -- Types and accounts of the events that it wants; null: all.
  types text[],
  accounts uuid[],
  batch_max int not null,
  -- active, paused (by its owner) or disabled (by us, for a reason).
  state text not null,
  reason text,
  -- Of its secret, which is derived from it and stored nowhere.
  generation int not null default 1,
  rotated_at timestamptz,
  created_at timestamptz not null default clock_timestamp(),
  changed_at timestamptz not null default clock_timestamp()
);
create index receiver_of_tenant on daybook_webhooks.receiver (tenant, id);

-- All events up to seq are delivered, dead letters, or not wanted.
create table daybook_webhooks.position (
  receiver uuid not null references daybook_webhooks.receiver on delete cascade,
  stream int not null,
  seq bigint not null,
  -- Of the chunk that ends there; null within a chunk.
  digest bytea,
  primary key (receiver, stream)
);

-- The newest attempts of each receiver.
create table daybook_webhooks.delivery (
  receiver uuid not null references daybook_webhooks.receiver on delete cascade,
  id bigint generated always as identity,
  at timestamptz not null,
  first_event text not null,
  last_event text not null,
  events int not null,
  attempt int not null,
  outcome text not null,
  status int,
  error text,
  duration_ms int not null,
  primary key (receiver, id)
);

-- Events that a receiver did not take, until they are sent again or discarded.
create table daybook_webhooks.dead_letter (
  receiver uuid not null references daybook_webhooks.receiver on delete cascade,
  id bigint generated always as identity,
  event_id text not null,
  -- As it was sent: json, not jsonb, keeps the order of its fields.
  event json not null,
  attempts int not null,
  status int,
  error text,
  first_at timestamptz not null,
  last_at timestamptz not null,
  -- When somebody asked for it to be sent again; null: nobody has.
  resend_at timestamptz,
  primary key (receiver, id),
  unique (receiver, event_id)
);
create index dead_letter_to_resend on daybook_webhooks.dead_letter (receiver, id)
  where resend_at is not null;
