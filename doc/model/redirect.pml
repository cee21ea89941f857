/* SPDX-FileCopyrightText: 2026 The msocket authors
 * SPDX-License-Identifier: MIT
 *
 * Redirection of one connection between two processes that move (doc/redirection.md), as src/transport, src/mirror and
 * src/daemons do it. What is left out, the configurations and the mutations: doc/model/README.md. Run by tests/model_test.
 *
 * A is the end that accepted the connection, C the one that opened it. A byte is a number; each end sends 1, 2, ... and
 * must read 1, 2, ... up to what the other has sent, and then the end of the stream.
 */

/* ---- the configuration: -D overrides */

#ifndef SENDS_A
#define SENDS_A 2      /* how many numbers A sends */
#endif
#ifndef SENDS_C
#define SENDS_C 2
#endif
#ifndef MOVES_A
#define MOVES_A 0      /* how often A is moved */
#endif
#ifndef MOVES_C
#define MOVES_C 0
#endif
#ifndef CLOSER
#define CLOSER 9       /* this end (0: A, 1: C) closes once it has all, without reading to the end; 9: nobody */
#endif
/* CHAIN: an end may be frozen before its last move has drained.  UNDECIDED: whatever is under way to it, too.  ROLLBACK: a move may be called off, once.
   COMMIT: the commit's answer may be lost.  DIES=N: one of the first N mirrors may die.
   A_AFTER_C: A is moved after C.  STRAY: a late record of an older generation. */

#define A 0
#define C 1
#define NONE 15
#define QB 2           /* the kernel's buffers of one direction; FIN and RST need no room in them */
#define K (2 + MOVES_A + MOVES_C)
#define MIRRORS (2 * (MOVES_A + MOVES_C) + 1)
#define LONGEST (SENDS_A + SENDS_C)

/* what is in a stream besides numbers */
#define FIN 101
#define RST 102        /* behind what has been sent */
#define EOS 104        /* end of a mirror's stream to its process */
#define NO 105         /* another answer, or the end without one: the peer has not taken that connection */
#define ANSWER 110     /* and the generation: the 48 bytes by which the opener's daemon knows that the peer has switched */

/* what must be reached: tests/model_test asks for these by name, pan prints each when it first comes there */
c_decl {
  static const char *seen[64];
  static void come_to(const char *what) {
    int i;
    for (i = 0; seen[i]; i++) if (!strcmp(seen[i], what)) return;
    if (i == 63) return;
    seen[i] = what;
    printf("reached: %s\n", what);
  }
}
#define REACH(what) c_code { come_to(what); };

/* ---- the state table: src/transport/conn_state.cc, kLegal. tests/model_test compares the two, row by row. */

#define s_free 0
#define s_fresh 1
#define s_listening 2
#define s_connecting 3
#define s_failed 4
#define s_established 5
#define s_awaiting 6
#define s_draining 7
#define s_buffered 8
#define bit(s) (1 << s)

#define legal_from_free        (bit(s_fresh) | bit(s_established) | bit(s_awaiting))
#define legal_from_fresh       (bit(s_listening) | bit(s_connecting))
#define legal_from_listening   (0)
#define legal_from_connecting  (bit(s_established) | bit(s_failed))
#define legal_from_failed      (bit(s_connecting))
#define legal_from_established (bit(s_awaiting) | bit(s_draining))
#define legal_from_buffered    (bit(s_established) | bit(s_awaiting) | bit(s_draining))
#ifdef CHAIN /* a second move before the first has drained */
#define legal_from_awaiting    (bit(s_draining) | bit(s_awaiting))
#define legal_from_draining    (bit(s_established) | bit(s_buffered) | bit(s_draining) | bit(s_awaiting))
#else
#define legal_from_awaiting    (bit(s_draining))
#define legal_from_draining    (bit(s_established) | bit(s_buffered) | bit(s_draining))
#endif

hidden short legal_from[9];    /* the rows, set once in init */

/* change_state(): the only one that changes a state */
inline go(e, to) {
  assert(to == s_free || ((legal_from[st[e]] >> to) & 1));
  st[e] = to
}

/* ---- the kernel: TCP connections. 0 is the one that connect() made; q[2*k+e] is what end e has written into connection k. */

chan q[2 * K] = [QB + 2] of { byte };
bit fin[2 * K];        /* that direction has been shut down */
bit dead[2 * K];       /* that end's socket was closed by the death of who held it: what is written to it goes nowhere */
byte opened = 1;

#define IN(k, e) q[2 * (k) + 1 - (e)]
#define OUT(k, e) q[2 * (k) + (e)]

inline shut(k, e) {    /* shutdown(SHUT_WR) */
  if
  :: !fin[2 * (k) + e] ->
     fin[2 * (k) + e] = 1;
     if :: !dead[2 * (k) + 1 - e] -> OUT(k, e)!FIN :: else fi
  :: else
  fi
}

/* ---- a process's memory: struct VSocket and struct Runtime. It moves with the process. */

byte st[2];            /* state */
byte num[2];           /* the connection under the program's number; NONE: a place holder */
byte oldfd[2] = NONE;
bit oldended[2];
bit frommir[2];
bit wshut[2];          /* write_shut */
bit rst[2];            /* reset: it is still to be told */
bit broken[2];         /* nothing that comes later is read */
bit orphan[2];
byte pgen[2] = 1;      /* peer_gen */
chan inb[2] = [LONGEST] of { byte };   /* in */
chan outb[2] = [1] of { byte };        /* out: at most kMaxOut */
byte mir[2] = NONE;    /* mirror_fd: the mirror whose stream it reads */
bit settling[2];
bit fwant[2];          /* freeze_wanted */

/* the program */
byte wn[2];            /* the last number written */
byte rn[2];            /* the last number read */
bit wdone[2], rdone[2], err[2];
#define SENDS(e) (e == A -> SENDS_A : SENDS_C)

/* ---- the daemons' view of a process: struct Rank, Connector::awaited_ */

byte gen[2] = 1;
bit moving[2];         /* RankState::kMoving */
bit runs[2] = 1;        /* the program runs, wherever */
bit awaited[2];
bit stash;             /* A's daemon keeps a connection for A that C's daemon has opened: Awaited::stash */
byte installing[2];
bit inflight[2];       /* a daemon's attempt to have the connection made anew is under way */
byte trying;           /* UNDECIDED: attempts on their way to the peer's daemon */
byte unmoved = MOVES_A + MOVES_C;

/* the control channel: kInstall {connection, local_gen, peer_gen, with the answer, which of the daemon's two has asked},
   and the error of kInstalled, for the one that has asked: the end's own redirection (0), or its peer's (2) */
chan ctl[2] = [2] of { byte, byte, byte, bit, byte };
chan rep[4] = [2] of { byte };
#ifdef MUT_REPLY_BY_CONNECTION
#define PEERS 0
#else
#define PEERS 2
#endif
#define no_reply(e) (len(rep[e]) == 0 && len(rep[2 + e]) == 0)
#define ESTALE 1
#define EBUSY 2
#define ENOTCONN 3

/* ---- mirrors */

chan ms[MIRRORS] = [2] of { byte };    /* frames to the process */
chan hc[MIRRORS] = [1] of { bit };     /* kHalfClose from the process */
bit go_on[MIRRORS], called_off[MIRRORS], lost[MIRRORS];
byte mirrors;
#ifdef DIES
byte deaths = 1;
#define DIED deaths == 0
#else
#define DIED false
#endif

/* redirect.cc, lives(): it goes along */
#define lives(e) (st[e] == s_awaiting || st[e] == s_draining || (!broken[e] && (st[e] == s_established || st[e] == s_buffered)))
#define settled(e) (mir[e] == NONE && st[e] != s_awaiting && st[e] != s_draining)
#ifdef UNDECIDED
#define may_freeze(e) true
#elif defined(CHAIN)
/* What the peer's mirror still owes is read first: only one's own mirror's stream can be handed on. */
#define may_freeze(e) (oldfd[e] == NONE)
#else
#define may_freeze(e) settled(e)
#endif
#define through(e) (wdone[e] && rdone[e] && settled(e) && !awaited[e] && !settling[e] && installing[e] == 0)
#define all_through (unmoved == 0 && trying == 0 && through(A) && through(C))

#include "redirect_process.pml"
#ifdef UNDECIDED
#include "redirect_undecided.pml"
#endif
#include "redirect_daemons.pml"

/* ---- opening, and what must hold at the end */

init {
  byte i;
  atomic {
    legal_from[s_free] = legal_from_free;
    legal_from[s_fresh] = legal_from_fresh;
    legal_from[s_listening] = legal_from_listening;
    legal_from[s_connecting] = legal_from_connecting;
    legal_from[s_failed] = legal_from_failed;
    legal_from[s_established] = legal_from_established;
    legal_from[s_awaiting] = legal_from_awaiting;
    legal_from[s_draining] = legal_from_draining;
    legal_from[s_buffered] = legal_from_buffered;

    /* The program's calls before there is a connection: calls_open.cc */
    go(A, s_fresh); go(A, s_listening); go(A, s_free);   /* the listener is a slot of its own; the accepted one begins free */
    go(C, s_fresh); go(C, s_connecting);
    if
    :: go(C, s_failed); go(C, s_connecting)              /* nobody listened yet */
    :: skip
    fi;
    go(C, s_established);
    go(A, s_established);
    run End(A); run End(C);
#ifndef UNDECIDED
    run Reopen(); run Request();
#else
    used[0] = 1;
#if MOVES_C
    run Watch(C); run Reopen(2);
#endif
#if MOVES_C > 1
    run Reopen(3);
#endif
#if MOVES_A
    run Watch(A); run Request(2);
#endif
#if MOVES_A > 1
    run Request(3);
#endif
#endif
#if MOVES_A
    run Mover(A, MOVES_A);
#endif
#if MOVES_C
    run Mover(C, MOVES_C);
#endif
#ifdef STRAY
    run Stray();
#endif
    i = 0
  }
  (_nr_pr == 1);       /* everything has ended; if it does not, Spin calls this an invalid end state */
  for (i : 0 .. 1) {
    assert(runs[i] && !moving[i]);
    assert(err[i] || rn[i] == SENDS(1 - i));
    assert(!err[i] || DIED);
    assert(st[i] == s_established || st[i] == s_free || (st[i] == s_buffered && DIED))
  }
}
