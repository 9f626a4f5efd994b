/**
 * The peer's tables and procedures: what a good team writes in plain Postgres today. Where there
 * was a choice the faster one was taken, in the peer's favour: bigint minor units, no foreign keys,
 * no index but the primary keys, room in every page for updates in place.
 */
export const PEER_SCHEMA = `
CREATE TABLE accounts (
  id uuid PRIMARY KEY,
  balance bigint NOT NULL DEFAULT 0,
  overdraft_limit bigint
) WITH (fillfactor = 50);

CREATE TABLE transfers (
  id uuid PRIMARY KEY,
  debit uuid NOT NULL,
  credit uuid NOT NULL,
  amount bigint NOT NULL CHECK (amount > 0),
  recorded_at timestamptz NOT NULL DEFAULT now()
);

-- One transfer. The unique id makes it idempotent. Both rows are locked in the order of their ids,
-- so that two transfers never wait for each other, and the update is the lock: a separate
-- SELECT FOR UPDATE would only be a statement more. A refusal raises, and so undoes everything.
CREATE FUNCTION transfer(p_id uuid, p_debit uuid, p_credit uuid, p_amount bigint,
                         OUT outcome text, OUT debit_balance bigint, OUT credit_balance bigint)
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO transfers (id, debit, credit, amount) VALUES (p_id, p_debit, p_credit, p_amount)
  ON CONFLICT (id) DO NOTHING;
  IF NOT FOUND THEN
    PERFORM 1 FROM transfers
    WHERE id = p_id AND debit = p_debit AND credit = p_credit AND amount = p_amount;
    IF NOT FOUND THEN
      RAISE EXCEPTION 'id_reused_with_different_body' USING ERRCODE = 'PE001';
    END IF;
    SELECT balance INTO debit_balance FROM accounts WHERE id = p_debit;
    SELECT balance INTO credit_balance FROM accounts WHERE id = p_credit;
    outcome := 'replayed';
    RETURN;
  END IF;

  IF p_debit < p_credit THEN
    UPDATE accounts SET balance = balance - p_amount
    WHERE id = p_debit AND (overdraft_limit IS NULL OR balance - p_amount >= -overdraft_limit)
    RETURNING balance INTO debit_balance;
    IF debit_balance IS NOT NULL THEN
      UPDATE accounts SET balance = balance + p_amount WHERE id = p_credit
      RETURNING balance INTO credit_balance;
    END IF;
  ELSE
    UPDATE accounts SET balance = balance + p_amount WHERE id = p_credit
    RETURNING balance INTO credit_balance;
    UPDATE accounts SET balance = balance - p_amount
    WHERE id = p_debit AND (overdraft_limit IS NULL OR balance - p_amount >= -overdraft_limit)
    RETURNING balance INTO debit_balance;
  END IF;
  IF debit_balance IS NULL OR credit_balance IS NULL THEN
    PERFORM 1 FROM accounts WHERE id IN (p_debit, p_credit) HAVING count(*) = 2;
    IF NOT FOUND THEN
      RAISE EXCEPTION 'account_not_found' USING ERRCODE = 'PE002';
    END IF;
    RAISE EXCEPTION 'insufficient_funds' USING ERRCODE = 'PE003';
  END IF;
  outcome := 'accepted';
END $$;

-- Many transfers in one transaction, with an outcome for each. All accounts are locked in order.
-- If no account would cross its limit even if it paid everything before it received anything, the
-- order of the items does not matter, and two statements do the work for all of them; otherwise
-- they are taken one by one.
CREATE FUNCTION transfer_batch(p_ids uuid[], p_debits uuid[], p_credits uuid[], p_amounts bigint[])
RETURNS text[] LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
DECLARE
  outcomes text[];
  touched uuid[];
  known int;
  crosses boolean;
  fresh int;
BEGIN
  SELECT array_agg(DISTINCT account) INTO touched
  FROM unnest(p_debits || p_credits) AS account;
  PERFORM 1 FROM accounts WHERE id = ANY (touched) ORDER BY id FOR UPDATE;
  GET DIAGNOSTICS known = ROW_COUNT;

  SELECT EXISTS (
    SELECT 1
    FROM (SELECT debit, sum(amount) AS paid FROM unnest(p_debits, p_amounts) AS item (debit, amount)
          GROUP BY debit) AS payer
    JOIN accounts ON accounts.id = payer.debit
    WHERE overdraft_limit IS NOT NULL AND balance - paid < -overdraft_limit
  ) INTO crosses;

  IF known = cardinality(touched) AND NOT crosses THEN
    WITH inserted AS (
      INSERT INTO transfers (id, debit, credit, amount)
      SELECT * FROM unnest(p_ids, p_debits, p_credits, p_amounts)
      ON CONFLICT (id) DO NOTHING
      RETURNING debit, credit, amount
    ), change AS (
      SELECT account, sum(delta)::bigint AS delta FROM (
        SELECT debit AS account, -amount AS delta FROM inserted
        UNION ALL
        SELECT credit, amount FROM inserted
      ) AS side GROUP BY account
    ), moved AS (
      UPDATE accounts SET balance = balance + delta FROM change WHERE id = change.account
    )
    SELECT count(*) INTO fresh FROM inserted;
    IF fresh = cardinality(p_ids) THEN
      RETURN array_fill('accepted'::text, ARRAY[fresh]);
    END IF;
    SELECT array_agg(CASE
        WHEN transfers.xmin <> pg_current_xact_id()::xid OR item.repeat > 1 THEN
          CASE WHEN (transfers.debit, transfers.credit, transfers.amount)
                  = (item.debit, item.credit, item.amount)
            THEN 'replayed' ELSE 'id_reused_with_different_body' END
        ELSE 'accepted' END ORDER BY item.position)
    INTO outcomes
    FROM (SELECT *, row_number() OVER (PARTITION BY id ORDER BY position) AS repeat
          FROM unnest(p_ids, p_debits, p_credits, p_amounts)
            WITH ORDINALITY AS item (id, debit, credit, amount, position)) AS item
    JOIN transfers USING (id);
    RETURN outcomes;
  END IF;

  FOR index IN 1 .. cardinality(p_ids) LOOP
    BEGIN
      outcomes[index] := (
        SELECT outcome
        FROM transfer(p_ids[index], p_debits[index], p_credits[index], p_amounts[index])
      );
    EXCEPTION WHEN SQLSTATE 'PE001' OR SQLSTATE 'PE002' OR SQLSTATE 'PE003' THEN
      outcomes[index] := SQLERRM;
    END;
  END LOOP;
  RETURN outcomes;
END $$;
`
