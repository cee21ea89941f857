/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * UNDECIDED: a process is frozen whatever its connections are doing. Its daemon hands the socket of which nobody knows whether
 * the peer has taken it to the mirror; the old socket beside the new one goes along too. This file takes the place of the
 * mirror and the connectors of redirect_daemons.pml. */

byte und[2] = NONE;    /* Awaited::undecided: opened by the end's daemon or towards it, and nothing has come on it yet */
bit refused[2];        /* the last attempt of this generation was; run() tries again */
bit used[K];

inline open_new(k) {
  k = 1;
  do :: used[k] -> k++ :: else -> break od;
  assert(k < K);
  used[k] = 1
}

/* ---- mirror.cc. It stands in for end e. In the order in which they are read: what the mirror before gives (`after`:
   kAfterUpstream), the old socket `a`, of which this side is shut down (kShut), the socket `b`, which may be undecided. */

/* a socket of the mirror's when that is killed: as in redirect_daemons.pml */
inline die_with(k, e) {
  if
  :: fin[2 * k + e] -> skip
  :: if
     :: do :: IN(k, 1 - e)?x :: (len(IN(k, 1 - e)) == 0) -> break od
     :: skip
     fi;
     OUT(k, e)!RST
  fi;
  fin[2 * k + e] = 1;
  dead[2 * k + e] = 1;
  do :: IN(k, e)?x :: (len(IN(k, e)) == 0) -> break od
}

#ifdef MUT_END_BEFORE_DECIDED
#define b_ended (b == NONE || b_done || undecided)
#else
#define b_ended (b == NONE || b_done)
#endif
#define room(m) (lost[m] || (len(ms[m]) < 2))

#ifdef PEER_DIES       /* A's, whose answer on the undecided socket has not been read */
#define DIES_OF(e) (e == A && b != NONE && OUT(b, e)?[eval(ANSWER + 1)])
#else
#define DIES_OF(e) true
#endif

inline say_end(m) {    /* end_if_done() */
  if
  :: !ended && !after && a == NONE && b_ended ->
     ended = 1;
     if :: !lost[m] -> ms[m]!FIN :: else fi
  :: else
  fi
}

inline say_reset(m) {  /* reset() */
  if :: !ended && !lost[m] -> ms[m]!RST :: else fi;
  ended = 1;
  after = 0
}

inline tell_upstream() {
#ifdef MUT_DECIDED_SILENTLY
  skip
#else
  if :: up != NONE && !lost[up] && (len(hc[up]) == 0) -> hc[up]!1 :: else fi
#endif
}

proctype Mirror(byte m; byte e; byte a; byte b; byte up; bit named; bit after; bit undecided) {
  byte x;
  bit b_done, b_shut, switched, ended;
  (go_on[m]);
  atomic {
    ended = !named;
    say_end(m) };
  do
  /* decide() */
  :: atomic { undecided && room(m) && len(IN(b, e)) > 0 ->
     IN(b, e)?x;
     undecided = 0;
     if
     :: x == NO ->
        REACH("undecided, not taken")
        used[b] = 0;
        b = NONE;
        say_end(m)
     :: x == RST ->
        REACH("undecided, reset")
        b = NONE;
#ifdef MUT_RESET_IS_NO
        say_end(m)
#else
        say_reset(m)
#endif
     :: else ->
        REACH("undecided, taken")
        assert(x >= ANSWER && a == NONE);
        tell_upstream();
        if :: switched -> REACH("the process has its new one before it is decided") shut(b, e); b_shut = 1 :: else fi
     fi;
     x = 0 }
  /* read_source(): the old socket, then the other */
  :: atomic { a != NONE && (ended || !after) && room(m) && len(IN(a, e)) > 0 ->
     IN(a, e)?x;
     if
     :: x == FIN -> a = NONE; say_end(m)
     :: x == RST -> a = NONE; say_reset(m)
     :: else -> if :: !ended && !lost[m] -> ms[m]!x :: else fi
     fi;
     x = 0 }
  :: atomic { b != NONE && !undecided && !b_done && (ended || (!after && a == NONE)) && room(m) && len(IN(b, e)) > 0 ->
     IN(b, e)?x;
     if
     :: x == FIN -> b_done = 1; say_end(m)
     :: x == RST -> b_done = 1; b_shut = 1; say_reset(m)
     :: else -> if :: !ended && !lost[m] -> ms[m]!x :: else fi
     fi;
     x = 0 }
  /* upstream_frame(), lose_upstream() */
  :: atomic { up != NONE && len(ms[up]) > 0 && room(m) ->
     ms[up]?x;
     if
     :: x == EOS -> up = NONE; if :: after -> say_reset(m) :: else fi
     :: x == FIN -> if :: after -> after = 0; say_end(m) :: else fi
     :: x == RST -> if :: after -> say_reset(m) :: else fi
     :: else -> if :: after && !lost[m] -> REACH("frame relayed") ms[m]!x :: else fi
     fi;
     x = 0 }
  /* read_stream(), end_old_streams() */
  :: atomic { (len(hc[m]) > 0) ->
     hc[m]?_;
     switched = 1;
     if :: b != NONE && !undecided && !b_shut -> shut(b, e); b_shut = 1 :: else fi;
     if :: up != NONE -> REACH("half-close relayed") :: else fi;
     tell_upstream() }
#ifdef DIES
  /* lose_process(): what is undecided is cut when it is decided */
  :: atomic { lost[m] && (len(hc[m]) == 0) && (!ended || up != NONE || (b != NONE && !b_shut && !undecided)) ->
     ended = 1;
     after = 0;
     if :: up != NONE -> lost[up] = 1; up = NONE :: else fi;
     if :: b != NONE && !b_shut && !undecided -> REACH("cut behind the last words") reset_socket(b, e); b = NONE :: else fi }
  :: atomic { go_on[m] && deaths > 0 && m < DIES && DIES_OF(e) ->
     deaths--;
     REACH("a mirror dies")
     lost[m] = 1;
     if :: up != NONE -> lost[up] = 1 :: else fi;
     if :: undecided -> REACH("a mirror dies with an undecided socket") :: else fi;
     if :: a != NONE -> die_with(a, e) :: else fi;
     if :: b != NONE -> die_with(b, e) :: else fi;
     if
     :: do :: ms[m]?x :: (len(ms[m]) == 0) -> break od
     :: (len(ms[m]) < 2)
     fi;
     ms[m]!EOS;
     if :: (len(hc[m]) > 0) -> hc[m]?_ :: else fi;
     break }
  :: atomic { ended && lost[m] && up == NONE && !undecided && a == NONE && (b == NONE || (b_done && b_shut)) -> break }
#endif
  :: atomic { ended && !lost[m] && up == NONE && !undecided && a == NONE && (b == NONE || (b_done && b_shut)) &&
       (len(ms[m]) < 2) && (len(hc[m]) == 0) -> ms[m]!EOS; break }
  od
}

/* ---- redirector.cc. Reopen and Request are run() of the Awaited of generation g: a new one begins where its rank has moved
   to, and what the one before it has begun goes on at the peer's daemon. */

inline finish(e, k, pg) {
  awaited[e] = 0;
  und[e] = NONE;
  installing[e]++;
  ctl[e]!k, gen[e], pg, 0, 0
}

inline give(e, k, pg) {  /* install() for a peer that has moved */
  installing[e]++;
  ctl[e]!k, gen[e], pg, 1, PEERS
}

/* The peer takes a new one now. A first attempt is made in any case; another only when it would not be refused again. */
#define would_take(e) (!moving[e] && (awaited[e] -> und[e] == NONE : st[e] != s_draining && st[e] != s_awaiting))

/* reopen() at C's daemon, and accept() at A's with "opener awaits" */
proctype Reopen(byte g) {
  byte k, agen;
  do
  :: atomic { awaited[C] && gen[C] == g && !moving[C] && und[C] == NONE && (!refused[C] || would_take(A)) ->
       trying++;
       open_new(k);
       und[C] = k;
       agen = gen[A] };
     atomic { !moving[A] ->
       trying--;
       if
       :: gen[A] != agen -> REACH("moved") OUT(k, A)!NO
       :: gen[A] == agen && awaited[A] && g < pgen[A] -> REACH("knows_newer") OUT(k, A)!NO
#ifndef MUT_UNDECIDED_IGNORED
       :: gen[A] == agen && awaited[A] && g >= pgen[A] && und[A] != NONE -> REACH("kNotYet") OUT(k, A)!NO
       :: gen[A] == agen && awaited[A] && g >= pgen[A] && und[A] == NONE ->
#else
       :: gen[A] == agen && awaited[A] && g >= pgen[A] ->
#endif
          REACH("both moved")
          OUT(k, A)!ANSWER + gen[A];
          finish(A, k, g)
       :: gen[A] == agen && !awaited[A] -> give(A, k, g)
       fi;
       k = 0; agen = 0 }
  :: atomic { gen[C] > g || all_through -> break }
  od
}

/* request() at A's daemon, serve_redirect() at C's, and accept() at A's */
proctype Request(byte g) {
  byte k, cgen;
  do
  :: atomic { awaited[A] && gen[A] == g && !moving[A] && und[A] == NONE && (!refused[A] || would_take(C)) -> trying++ };
     atomic { !moving[C] ->
       if
       :: awaited[C] -> REACH("kBothMoved") trying--; goto both
       :: else -> cgen = gen[C]
       fi };
     atomic { !moving[A] ->
       if
       :: awaited[A] && gen[A] == g && und[A] == NONE -> open_new(k); und[A] = k
       :: else -> trying--; goto again
       fi };
     atomic {
       trying--;
       if
       :: moving[C] || gen[C] != cgen -> REACH("the connector has moved on") OUT(k, C)!NO
       :: else -> give(C, k, g)
       fi };
     goto again;
both:
     (!awaited[A] || !awaited[C] || moving[A] || gen[A] > g || all_through);
again:
     atomic { k = 0; cgen = 0 }
  :: atomic { gen[A] > g || all_through -> break }
  od
}

/* decision() and watch(): what comes first on an undecided socket is taken when its rank does not stand still */
proctype Watch(byte e) {
  byte k, x;
  do
  :: atomic { und[e] != NONE && !moving[e] && len(IN(und[e], e)) > 0 ->
       k = und[e];
       IN(k, e)?x;
       if
       :: x == NO -> und[e] = NONE; used[k] = 0; refused[e] = 1
       :: x == RST -> REACH("ECONNRESET") finish(e, NONE, pgen[e])
       :: else ->
          assert(x >= ANSWER);
          if :: e == A -> REACH("C opened, A moved") :: else -> REACH("C opened, C moved") fi;
          finish(e, k, x - ANSWER)
       fi;
       k = 0; x = 0 }
  :: atomic { all_through -> break }
  od
}
