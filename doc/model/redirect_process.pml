/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * A process: the program's calls and the control signal's handler. Every step is what is done under the runtime's lock. */

/* vsocket.cc, refresh() */
inline refresh(e) {
  if
  :: st[e] == s_draining && oldended[e] && oldfd[e] == NONE ->
     if
#ifdef MUT_FORGET_BUFFER
     :: true -> go(e, s_established)
#else
     :: len(inb[e]) > 0 || rst[e] -> REACH("buffered") go(e, s_buffered)
     :: else -> go(e, s_established)
#endif
     fi
  :: st[e] == s_buffered && len(inb[e]) == 0 && !rst[e] -> go(e, s_established)
  :: else
  fi
}

/* close() with SO_LINGER, and the death of who holds end e: what it wrote is behind it already */
inline reset_socket(k, e) {
  if
  :: !dead[2 * (k) + e] ->
     if :: !dead[2 * (k) + 1 - e] -> OUT(k, e)!RST :: else fi;
     fin[2 * (k) + e] = 1;
     dead[2 * (k) + e] = 1;
     do :: IN(k, e)?_ :: (len(IN(k, e)) == 0) -> break od
  :: else
  fi
}

/* drain.cc, break_off(): what is under the number is reset towards the peer, and dead for the program */
inline break_off(e) {
#ifndef MUT_NO_BREAK_OFF
  if
  :: st[e] != s_awaiting && num[e] != NONE -> REACH("broken off") reset_socket(num[e], e); num[e] = NONE
  :: else
  fi
#else
  skip
#endif
}

/* drain.cc, end_of_old() */
inline end_of_old(e, reset) {
  oldfd[e] = NONE;
  frommir[e] = 0;
  oldended[e] = 1;
  if
  :: reset -> rst[e] = 1; broken[e] = 1; break_off(e)
  :: else
  fi;
  refresh(e)
}

/* InBuffer: behind a reset nothing may come any more */
inline take_in(e, x) {
  if
#ifndef MUT_DATA_AFTER_RESET
  :: broken[e] -> REACH("data behind a reset")
#endif
  :: else -> inb[e]!x
  fi
}

/* drain.cc, drain_old(): one piece; there is something */
inline drain_old(e, x) {
  if
  :: IN(oldfd[e], e)?[FIN] -> end_of_old(e, 0)
  :: IN(oldfd[e], e)?[RST] -> REACH("reset of old") end_of_old(e, 1)
  :: else -> IN(oldfd[e], e)?x; take_in(e, x)
  fi
}

#define old_has(e) (oldfd[e] != NONE && len(IN(oldfd[e], e)) > 0)

inline drain_all_of_old(e, x) {
  do
  :: old_has(e) -> drain_old(e, x)
  :: else -> break
  od
}

/* drain.cc, drain_mirror(): one frame */
inline drain_mirror(e, x) {
  ms[mir[e]]?x;
  if
  :: x == EOS ->               /* mirror_gone() */
     mir[e] = NONE;
     if
     :: frommir[e] && !oldended[e] -> REACH("mirror lost") end_of_old(e, 1)
     :: else
     fi;
     frommir[e] = 0
  :: x == FIN -> if :: st[e] != s_free -> end_of_old(e, 0) :: else fi
  :: x == RST -> if :: st[e] != s_free -> end_of_old(e, 1) :: else fi
  :: else -> if :: st[e] != s_free -> take_in(e, x) :: else fi
  fi
}

/* redirect.cc, release_orphan(), and the end of do_close() */
inline release(e) {
  oldfd[e] = NONE;
  if :: num[e] != NONE -> shut(num[e], e) :: else fi;
  orphan[e] = 0;
  go(e, s_free)
}

inline tell_mirror_half_close(e) {
  if :: mir[e] != NONE && !lost[mir[e]] && (len(hc[mir[e]]) == 0) -> hc[mir[e]]!1 :: else fi    /* saying it twice is saying it once */
}

/* redirect.cc, on_install(): a new connection k; NONE: the one that the peer had taken was reset before it came here */
inline on_install(e, k, lg, pg, answer, x, error) {
  error = 0;
  if
  :: st[e] == s_free -> REACH("ENOTCONN") error = ENOTCONN
#ifndef MUT_OLD_GENERATION
  :: st[e] != s_free && (pg < pgen[e] || lg != gen[e]) -> REACH("ESTALE") error = ESTALE
  :: st[e] != s_free && !(pg < pgen[e] || lg != gen[e]) ->
#else
  :: st[e] != s_free ->
#endif
     if
     :: st[e] == s_draining && oldfd[e] != NONE -> drain_all_of_old(e, x)
     :: else
     fi;
     if
     :: st[e] == s_awaiting ->
        num[e] = k;
        if :: k == NONE && !broken[e] -> rst[e] = 1; broken[e] = 1 :: else fi;
        if :: answer -> OUT(k, e)!ANSWER + gen[e] :: else fi;
        if :: outb[e]?[x] -> REACH("out") outb[e]?x; if :: !broken[e] -> OUT(k, e)!x :: else fi :: else fi;
#ifdef MUT_FIN_OF_BROKEN
        if :: wshut[e] && k != NONE -> REACH("write_shut") shut(k, e) :: else fi;
#elif !defined(MUT_NO_WRITE_SHUT)
        if :: wshut[e] && !broken[e] -> REACH("write_shut") shut(k, e) :: else fi;
#endif
        pgen[e] = pg;
        go(e, s_draining);
        tell_mirror_half_close(e);
        if :: broken[e] -> break_off(e) :: else fi;
        refresh(e);
        if :: orphan[e] -> REACH("orphan released") release(e) :: else fi
     :: (st[e] == s_established || st[e] == s_buffered) && pg == pgen[e] -> REACH("asked twice") error = ESTALE
     :: (st[e] == s_established || st[e] == s_buffered) && pg != pgen[e] ->
        if :: st[e] == s_buffered -> REACH("switched while buffered") :: else fi;
        if :: answer -> OUT(k, e)!ANSWER + gen[e] :: else fi;
        oldfd[e] = num[e];
        oldended[e] = (num[e] == NONE);
        num[e] = k;
        if :: wshut[e] && !broken[e] -> REACH("write_shut") shut(k, e) :: else fi;
        pgen[e] = pg;
        go(e, s_draining);
        if :: oldfd[e] != NONE -> shut(oldfd[e], e); drain_all_of_old(e, x) :: else fi;
        if :: broken[e] -> break_off(e) :: else fi;
        refresh(e)
     :: else -> REACH("EBUSY") error = EBUSY
     fi
  fi
}

/* redirect.cc, restore_sockets(): the same memory in the new process; own: the mirror that now stands in */
inline restore_sockets(e, own) {
  mir[e] = own;
  settling[e] = 1;
  if
  :: lives(e) && st[e] != s_awaiting ->
     if
     :: st[e] == s_draining -> REACH("moved while draining")
     :: st[e] == s_buffered -> REACH("moved while buffered")
     :: else
     fi;
     go(e, s_awaiting);
     num[e] = NONE;
     frommir[e] = 1;
     oldended[e] = 0;
#ifdef UNDECIDED
     oldfd[e] = NONE;
#endif
     awaited[e] = 1
#ifdef UNDECIDED
  :: st[e] == s_awaiting ->    /* each connection is named to the new mirror, which ends it once */
     REACH("moved while awaiting")
     go(e, s_awaiting);
     frommir[e] = 1;
     oldended[e] = 0;
     awaited[e] = 1
#else
  :: st[e] == s_awaiting ->    /* still: nothing of its own is with the new mirror */
     REACH("moved while awaiting")
     go(e, s_awaiting);
#ifdef MUT_ENDED_FORGOTTEN
     oldended[e] = 0;
#endif
     frommir[e] = !oldended[e];
     if :: oldended[e] -> REACH("moved while awaiting, the old one at its end") :: else fi;
     awaited[e] = 1
#endif
  :: else                      /* the program has closed it */
  fi
}

/* control.cc, the end of handle_control(): kSettled */
inline settle(e) {
  if :: settling[e] && settled(e) -> settling[e] = 0 :: else fi
}

/* calls_open.cc, do_shutdown(): the program has nothing more to say */
inline shut_down(e) {
  wshut[e] = 1;
  wdone[e] = 1;
  if
  :: st[e] == s_awaiting -> REACH("shutdown while awaiting")
  :: st[e] != s_awaiting && num[e] != NONE -> shut(num[e], e)
  :: else
  fi
}
#ifdef SHUTS_AT_ONCE
#define then_shut_down(e) if :: e != CLOSER && wn[e] == SENDS(e) -> shut_down(e) :: else fi
#else
#define then_shut_down(e) skip
#endif

#ifdef WHILE_UNDECIDED  /* on the connection that was undecided, or later */
#define may_write(e) (e == C || pgen[A] > 1)
#else
#define may_write(e) true
#endif

proctype End(byte e) {
  byte x, k, lg, pg, who, error;
  bit answer;
  do
  /* -- the program writes: calls_io.cc */
  :: atomic { runs[e] && !orphan[e] && wn[e] < SENDS(e) && may_write(e) && (st[e] == s_established || st[e] == s_draining || st[e] == s_buffered) &&
       (num[e] == NONE || len(OUT(num[e], e)) < QB || dead[2 * num[e] + 1 - e]) ->
     wn[e]++;
     if
     :: num[e] == NONE || dead[2 * num[e] + 1 - e] -> skip       /* it is told so: EPIPE */
     :: else -> OUT(num[e], e)!wn[e]
     fi;
     then_shut_down(e) }
  :: atomic { runs[e] && !orphan[e] && wn[e] < SENDS(e) && may_write(e) && st[e] == s_awaiting && (len(outb[e]) < 1) -> /* keep() */
     wn[e]++;
     outb[e]!wn[e];
     then_shut_down(e) }

  /* -- it shuts down its writing side */
  :: atomic { runs[e] && e != CLOSER && wn[e] == SENDS(e) && !wshut[e] -> shut_down(e) }

  /* -- it closes: do_close() */
  :: atomic { runs[e] && e == CLOSER && wn[e] == SENDS(e) && rn[e] == SENDS(1 - e) && st[e] != s_free && !orphan[e] ->
     wdone[e] = 1;
     rdone[e] = 1;
     if
#ifndef MUT_CLOSE_AT_ONCE
     :: st[e] == s_awaiting -> REACH("orphan") orphan[e] = 1
#endif
     :: else -> if :: st[e] == s_draining -> REACH("closed while draining") :: else fi; release(e)
     fi }

  /* -- it reads: read_step(), and the fast path */
  :: atomic { runs[e] && !rdone[e] && (st[e] == s_awaiting || st[e] == s_draining || st[e] == s_buffered) && len(inb[e]) > 0 ->
     inb[e]?x;
     assert(x == rn[e] + 1);
     rn[e] = x;
     x = 0;
     refresh(e) }
  :: atomic { runs[e] && !rdone[e] && (st[e] == s_awaiting || st[e] == s_draining || st[e] == s_buffered) && len(inb[e]) == 0 && rst[e] ->
     REACH("reset reported")
     err[e] = 1; rdone[e] = 1;
     rst[e] = 0;
     refresh(e) }
#ifdef MUT_NEW_BEFORE_OLD
  :: atomic { runs[e] && !rdone[e] && (st[e] == s_established || st[e] == s_draining) && len(IN(num[e], e)) > 0 ->
#else
  :: atomic { runs[e] && !rdone[e] && st[e] == s_established && num[e] != NONE && len(IN(num[e], e)) > 0 ->
#endif
     if
     :: IN(num[e], e)?[FIN] -> REACH("end of stream") assert(rn[e] == SENDS(1 - e)); rdone[e] = 1
     :: IN(num[e], e)?[RST] -> REACH("reset reported") err[e] = 1; rdone[e] = 1; broken[e] = 1; num[e] = NONE   /* note_reset() */
     :: else -> IN(num[e], e)?x; assert(x == rn[e] + 1); rn[e] = x; x = 0
     fi }
  /* told of the reset it might read on: nothing may come */
  :: atomic { runs[e] && err[e] && (st[e] == s_established || st[e] == s_buffered) && num[e] != NONE && len(IN(num[e], e)) > 0 &&
       !IN(num[e], e)?[FIN] && !IN(num[e], e)?[RST] -> assert(false) }
  :: atomic { runs[e] && err[e] && len(inb[e]) > 0 -> inb[e]?x; assert(x == rn[e] + 1); rn[e] = x; x = 0; refresh(e) }

  /* -- the handler: control.cc */
  :: atomic { runs[e] && (len(ctl[e]) > 0) ->
     ctl[e]?k, lg, pg, answer, who;
     on_install(e, k, lg, pg, answer, x, error);
     installing[e]--;
#ifdef UNDECIDED               /* accept(), serve_redirect() behind install(): the daemon answers, or closes its end */
     assert(error == 0 || who == PEERS);
     assert(error != ESTALE || pg < gen[1 - e]);   /* an attempt of the peer's present self would only be made again */
     if :: error != 0 -> OUT(k, e)!NO :: else fi;
#else
     rep[who + e]!error;
#endif
     settle(e);
     x = 0; k = 0; lg = 0; pg = 0; answer = 0; who = 0; error = 0 }
  :: atomic { runs[e] && old_has(e) -> drain_old(e, x); x = 0; settle(e) }
  :: atomic { runs[e] && mir[e] != NONE && len(ms[mir[e]]) > 0 -> drain_mirror(e, x); x = 0; settle(e) }
  :: atomic { runs[e] && fwant[e] && may_freeze(e) && (len(ctl[e]) == 0) -> fwant[e] = 0; runs[e] = 0 }    /* frozen */
  :: atomic { all_through -> break }
  od
}
