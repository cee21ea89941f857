/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * The mirror, the daemons' connectors, and the mover. A daemon's steps happen at the end that they are about, wherever it is;
 * a request that finds it standing still waits for the outcome, as Node::wait_settled_place() does. */

#ifndef UNDECIDED

/* ---- mirror.cc. Stands in for end e, holds its end of connection k (or NONE); `up`: the stream of the mirror before it,
   which is passed on first; `hold`: its own data waits until that one has ended the connection. */
proctype Mirror(byte m; byte e; byte k; byte up; bit hold) {
  byte x;
  bit read_done, half_close, silent, up_ended;
#ifdef MUT_MIRROR_EARLY
  skip;
#else
  (go_on[m] || called_off[m]);
  if :: called_off[m] -> goto done :: else fi;
#endif
#ifdef MUT_EARLY_HALF_CLOSE
  if :: k != NONE -> atomic { half_close = 1; shut(k, e) } :: else fi;
#endif
  do
  /* read_connection() */
  :: atomic { k != NONE && !read_done && !hold && (len(ms[m]) < 2) && len(IN(k, e)) > 0 ->
     if
     :: IN(k, e)?[FIN] -> read_done = 1; if :: !silent && !lost[m] -> ms[m]!FIN :: else fi
     :: IN(k, e)?[RST] -> read_done = 1; half_close = 1; if :: !silent && !lost[m] -> ms[m]!RST :: else fi
     :: else -> IN(k, e)?x; if :: !silent && !lost[m] -> ms[m]!x :: else fi
     fi;
     x = 0 }
#ifdef CHAIN
  /* the frames of the mirror before it */
  :: atomic { up != NONE && len(ms[up]) > 0 && (len(ms[m]) < 2) ->
     ms[up]?x;
     if
     :: x == EOS ->
        up = NONE;
        if
        :: k != NONE && !up_ended && hold -> REACH("first mirror lost under the second") silent = 1; hold = 0
        :: else
        fi
     :: x == FIN && k != NONE && hold -> REACH("first mirror's EOF swallowed") up_ended = 1; hold = 0
     :: x == RST && k != NONE && hold -> up_ended = 1; silent = 1; hold = 0; ms[m]!RST
     :: else -> REACH("frame relayed") ms[m]!x
     fi;
     x = 0 }
#endif
  /* read_stream(): kHalfClose */
  :: atomic { (len(hc[m]) > 0) ->
     hc[m]?_;
     if
     :: k != NONE -> if :: !half_close -> shut(k, e); half_close = 1 :: else fi
     :: k == NONE && up != NONE -> REACH("half-close relayed") hc[up]!1
     :: else
     fi }
  /* lose_process(): whoever read its stream has died. Nobody says that the program has ended its own: no end, but a reset. */
#ifdef MUT_FIN_AT_LOSS
  :: atomic { lost[m] && k != NONE && !half_close -> shut(k, e); half_close = 1 }
#else
  :: atomic { lost[m] && k != NONE && !half_close && (len(hc[m]) == 0) -> REACH("cut behind the last words") reset_socket(k, e); k = NONE }
#endif
#ifdef DIES
  :: atomic { go_on[m] && deaths > 0 && m < DIES ->
     deaths--;
     REACH("a mirror dies")
     lost[m] = 1;
     if :: up != NONE -> lost[up] = 1 :: else fi;
     if
     :: k != NONE ->
        if
        :: fin[2 * k + e] -> skip      /* all and its end had left */
        :: if                          /* what had not left is thrown away with the socket */
           :: do :: IN(k, 1 - e)?x :: (len(IN(k, 1 - e)) == 0) -> break od
           :: skip
           fi;
#ifdef MUT_FIN_AT_DEATH
           /* close() of a socket with nothing unread in it: an ordinary end */
           if
           :: (len(IN(k, e)) == 0) || IN(k, e)?[FIN] -> OUT(k, e)!FIN
           :: else -> OUT(k, e)!RST
           fi
#else
           OUT(k, e)!RST
#endif
        fi;
        fin[2 * k + e] = 1;
        dead[2 * k + e] = 1;
        do :: IN(k, e)?x :: (len(IN(k, e)) == 0) -> break od
     :: else
     fi;
     if
     :: do :: ms[m]?x :: (len(ms[m]) == 0) -> break od
     :: (len(ms[m]) < 2)
     fi;
     ms[m]!EOS;
     if :: (len(hc[m]) > 0) -> hc[m]?_ :: else fi;
     goto done }
#endif
  :: atomic { (k == NONE || (read_done && half_close)) && up == NONE && (len(ms[m]) < 2) && (len(hc[m]) == 0) -> ms[m]!EOS; break }
  :: atomic { (k == NONE || (read_done && half_close)) && up == NONE && lost[m] -> break }
  od;
done:
  skip
}

/* ---- redirector.cc */

/* finish(): the end that has moved gets its own */
inline finish(e, k, mygen, pg) {
  if
  :: gen[e] != mygen || moving[e] ->   /* it has moved on: its socket is closed with the daemon's end of it */
     REACH("too late") dead[2 * k + e] = 1; shut(k, e)
  :: else ->
     awaited[e] = 0;
     installing[e]++;
     ctl[e]!k, gen[e], (pg == 0 -> pgen[e] : pg), 0, 0
  fi;
  inflight[e] = 0
}

inline wait_installed(e, error) {
  rep[e]?error;
  assert(error == 0 || error == ENOTCONN || error == ESTALE);
#ifndef STRAY
  assert(error != ESTALE)      /* the one that has moved never refuses its connection */
#endif
}

/* A socket whose other end is closed: redirect.cc, dead_socket() */
inline dead_socket(k, e) {
  fin[2 * (k) + 1 - e] = 1;
  OUT(k, 1 - e)!FIN
}

/* The peer takes a new one now: an attempt that would be refused again is left out. */
#define would_take(e) (!moving[e] && (awaited[e] || (st[e] != s_draining && st[e] != s_awaiting)))

/* run_reopen(): C, which opened the connection, has moved; accept_redirect() at A's daemon */
proctype Reopen() {
  byte k, mygen, agen, error;
  do
  :: atomic { awaited[C] && !moving[C] -> inflight[C] = 1; mygen = gen[C] };
     /* While A's daemon keeps a connection that C may have switched to, the answer is: not yet. */
#ifdef MUT_STASH_IGNORED
     atomic { !moving[A] && runs[A] ->
#else
     atomic { !moving[A] && runs[A] && !stash ->
#endif
       k = opened; opened++;
       agen = gen[A];
       if
       :: awaited[A] ->
          REACH("both moved")
          awaited[A] = 0;
          installing[A]++;
          ctl[A]!k, gen[A], mygen, 0, 0
       :: else ->
          installing[A]++;
          ctl[A]!k, gen[A], mygen, 1, PEERS;
#ifdef MUT_MOVER_FIRST
          finish(C, k, mygen, agen); wait_installed(C, error);
#endif
          goto asked
       fi };
     atomic { finish(C, k, mygen, agen); error = 0 };       /* the answer has come: kOk */
     wait_installed(A, error);
     wait_installed(C, error);
     goto again;
asked:
     atomic { rep[PEERS + A]?error ->
       if
       :: error == 0 -> skip
       :: error == ENOTCONN ->
          REACH("gone")
          dead_socket(k, C);
          finish(C, k, mygen, 0);
          goto given
       :: else -> opened--; inflight[C] = 0; goto refused
       fi };
     atomic { OUT(k, A)?error ->                       /* the answer is what comes first on the new connection */
       assert(error == ANSWER + agen);
       REACH("C opened, C moved")
#ifndef MUT_MOVER_FIRST
       finish(C, k, mygen, agen)
#endif
     };
given:
#ifndef MUT_MOVER_FIRST
     if
     :: wait_installed(C, error)
     :: gen[C] != mygen -> skip
     fi;
#endif
     goto again;
refused:
     (would_take(A) || moving[C]);
again:
     atomic { k = 0; mygen = 0; agen = 0; error = 0 }
  :: atomic { all_through -> break }
  od
}

/* run_request(): A has moved and asks C's daemon, serve_redirect() */
proctype Request() {
  byte k, mygen, error;
  do
  :: atomic { awaited[A] && !moving[A] -> inflight[A] = 1; mygen = gen[A] };
     atomic { (!moving[C] && runs[C]) ->
       if
       :: awaited[C] -> REACH("kBothMoved") inflight[A] = 0; goto both
       :: else -> installing[C]++      /* Guard */
       fi };
     atomic { (!moving[A] && runs[A]) ->    /* the connection is opened; A's daemon keeps it, if A still awaits it */
       if
       :: awaited[A] && gen[A] == mygen ->
          k = opened; opened++;
          stash = 1;
          ctl[C]!k, gen[C], mygen, 0, PEERS
       :: else -> installing[C]--; inflight[A] = 0; goto again
       fi };
     atomic { rep[PEERS + C]?error ->
       if
       :: error == 0 -> skip
       :: error == ENOTCONN -> REACH("gone") dead_socket(k, A)
       :: else -> opened--; stash = 0; inflight[A] = 0; goto refused
       fi };
     atomic { REACH("C opened, A moved") stash = 0; finish(A, k, mygen, 0) };
     if
     :: wait_installed(A, error)
     :: gen[A] != mygen -> skip
     fi;
     goto again;
both:
     (!awaited[A] || !awaited[C] || moving[A]);
     goto again;
refused:
     (would_take(C) || moving[A]);
again:
     atomic { k = 0; mygen = 0; error = 0 }
  :: atomic { all_through -> break }
  od
}

#endif  /* UNDECIDED */

#ifdef STRAY
/* A record that was meant for an earlier generation of the peer, or of the process itself, and comes now. Nobody has the
   other end of its connection any more. */
proctype Stray() {
  byte error, k;
  do
  :: atomic { !(all_through) && gen[C] > 1 && pgen[A] == gen[C] && installing[A] == 0 && no_reply(A) && runs[A] && !moving[A] && !awaited[A] && !inflight[C] && !awaited[C] ->
     k = opened; opened++;
     dead[2 * k + C] = 1; fin[2 * k + C] = 1; OUT(k, C)!RST;
     installing[A]++;
     if :: ctl[A]!k, gen[A], pgen[A] - 1, 0, 2 :: gen[A] > 1 -> ctl[A]!k, gen[A] - 1, pgen[A], 0, 2 fi };
     rep[2 + A]?error;
     break
  :: atomic { all_through -> break }
  od
}
#endif

/* ---- mover.cc and arrivals.cc */

/* arrivals.cc, commit(), behind the registration: kResume, reconnect_all() */
inline resume_there(e, m) {
  assert(!runs[e]);             /* nobody runs the same process twice */
  gen[e]++;
  restore_sockets(e, m);
  runs[e] = 1;
  moving[e] = 0
}

inline roll_back(e) {
  assert(!runs[e]);
  REACH("rolled back")
  runs[e] = 1;
  moving[e] = 0
}

#ifdef COMMIT
mtype = { none, registered, fenced };
mtype master[2] = none;
bit arrived[2], committing[2], committed[2];
chan ask_commit[2] = [1] of { bit };
chan answer_commit[2] = [1] of { bit };

/* The destination's side: arrivals.cc, commit() and ask() */
proctype Destination(byte e; byte m) {
  do
  :: ask_commit[e]?_ ->
     atomic {
       if
       :: !arrived[e] -> answer_commit[e]!0; goto done       /* it has been called off */
       :: else -> arrived[e] = 0; committing[e] = 1
       fi };
     atomic {
       if
       :: master[e] == fenced -> REACH("fenced") committing[e] = 0; answer_commit[e]!0
       :: else -> master[e] = registered; committing[e] = 0; committed[e] = 1; resume_there(e, m); answer_commit[e]!1
       fi };
     break
  od;
done:
  skip
}

/* mover.cc, commit() and ask_committed() */
inline decide(e, m, yes) {
  arrived[e] = 1; committing[e] = 0; committed[e] = 0; master[e] = none;
  run Destination(e, m);
  ask_commit[e]!1;
  if
  :: answer_commit[e]?yes
  :: skip ->                   /* no answer in time */
#ifdef MUT_GUESS
     yes = 0
#else
     if
     :: atomic { !committing[e] ->                     /* the destination answers; its "no" is a promise */
          REACH("asked the destination")
          arrived[e] = 0;
          yes = committed[e] }
     :: atomic {                                       /* it is silent: the master's fence */
          REACH("asked the master")
          if
          :: master[e] == registered -> yes = 1
          :: else -> master[e] = fenced; yes = 0
          fi }
     fi;
     answer_commit[e]?_        /* comes too late: nobody looks at it */
#endif
  fi
}
#endif

#ifdef UNDECIDED
#define nothing_under_way(e) true
#elif defined(CHAIN)
#ifdef MUT_NO_GUARD
#define nothing_under_way(e) (installing[e] == 0 && no_reply(e))
#else
#define nothing_under_way(e) (installing[e] == 0 && no_reply(e) && !inflight[e])
#endif
#else
#define nothing_under_way(e) (!settling[e] && installing[e] == 0 && no_reply(e))
#endif

#ifdef WHILE_UNDECIDED   /* C moves on while its new socket is undecided, and then A when it has taken that one; else they stay */
#define wanted(e) (e == C -> (gen[C] == 1 && wshut[C]) || und[C] != NONE : gen[C] == 3 && pgen[A] == 2)
#define no_use(e) (e == C -> gen[C] == 2 && !awaited[C] : pgen[A] == 3 || (gen[C] == 2 && unmoved == MOVES_A))
#endif

proctype Mover(byte e; byte times) {
  byte m, k;
  bit hold, yes;
#ifdef ROLLBACK
  bit offs = 1;
#endif
#ifdef A_AFTER_C
  (e == C || gen[C] > A_AFTER_C);
#endif
  do
  :: times > 0 ->
     /* freeze(): nothing is under way to it, and from here on nothing begins */
     atomic {
#ifdef WHILE_UNDECIDED
       wanted(e) || no_use(e) ->
       if :: no_use(e) -> goto over :: else fi;
#else
       nothing_under_way(e) ->
#endif
       if :: settling[e] -> REACH("second move before the first has drained") :: else fi;
       moving[e] = 1;
       fwant[e] = 1 };
     /* kFrozen: hand_sockets_to_mirror() */
     atomic { !runs[e] ->
       m = mirrors; mirrors++;
#ifdef UNDECIDED
       /* and Redirector::hand_over(), leave() */
       k = (und[e] == NONE && st[e] != s_awaiting && lives(e) -> num[e] : und[e]);
       if
       :: und[e] != NONE -> REACH("moved while undecided") assert(st[e] == s_awaiting)
       :: else
       fi;
#ifdef MUT_UNDECIDED_DROPPED
       if :: und[e] != NONE -> reset_socket(und[e], e); und[e] = NONE; k = NONE :: else fi;
#endif
       if :: lives(e) && oldfd[e] != NONE -> REACH("old and new to the mirror") :: else fi;
       run Mirror(m, e, (lives(e) -> oldfd[e] : NONE), k, mir[e], lives(e), frommir[e], und[e] != NONE);
       und[e] = NONE;
       refused[e] = 0;
#else
       k = NONE;
       hold = 0;
       if
       :: lives(e) && st[e] == s_draining -> k = num[e]; hold = 1
       :: lives(e) && st[e] != s_draining && st[e] != s_awaiting -> k = num[e]
       :: else
       fi;
#ifdef MUT_NO_HOLD
       hold = 0;
#endif
       run Mirror(m, e, k, mir[e], hold);
#endif
       k = 0; hold = 0;
#if defined(ROLLBACK) || defined(COMMIT)
       yes = 1 };
#else                          /* what happens meanwhile happens before or behind just as well */
       resume_there(e, m);
       go_on[m] = 1; times-- }
#endif
#ifdef ROLLBACK
     if
     :: offs > 0 -> offs--; yes = 0      /* the image did not get through */
     :: skip
     fi;
#endif
#ifdef COMMIT
     decide(e, m, yes);
     if
     :: !yes -> atomic { roll_back(e) }
     :: else -> assert(runs[e] || moving[e])
     fi
#elif defined(ROLLBACK)
     if
     :: yes -> atomic { resume_there(e, m) }
     :: else -> atomic { roll_back(e) }
     fi
#endif
#if defined(ROLLBACK) || defined(COMMIT)
     ;
     if
     :: yes -> go_on[m] = 1; times--
     :: else ->
        called_off[m] = 1;
#ifdef COMMIT
        times--
#endif
     fi
#endif
  :: else -> break
  od;
#ifdef WHILE_UNDECIDED
over:
#endif
  unmoved = unmoved - (e == A -> MOVES_A : MOVES_C)
}
