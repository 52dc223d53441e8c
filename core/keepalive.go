package core

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// keepAlive judges whether the peer lives: by anything that arrives, provoked
// by a ping when nothing does. It is one timer and no goroutine.
//
// A tick comes every Config.KeepAlive. If nothing arrived since the last one a
// ping goes out, and if nothing arrives within Config.KeepAliveTimeout after
// it, the session ends: at most 2*KeepAlive + KeepAliveTimeout after the last
// sign of life.
type keepAlive struct {
	reads atomic.Uint64 // transport frames; written by the reader alone

	mu     sync.Mutex
	timer  *time.Timer
	seen   uint64
	pinged bool
	writes uint64 // of the writer, when the ping was last looked at
	over   bool
}

// received notes a sign of life.
func (k *keepAlive) received() { k.reads.Store(k.reads.Load() + 1) }

func (k *keepAlive) start(s *session) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.over {
		k.timer = time.AfterFunc(s.m.cfg.KeepAlive, s.tick)
	}
}

func (k *keepAlive) stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.over = true
	if k.timer != nil {
		k.timer.Stop()
	}
}

// pingUnderWay reports whether the ping still waits to be written, behind what
// the link takes: the peer cannot answer it yet. keepAlive.mu is held.
func (s *session) pingUnderWay() bool {
	waits, writes := s.w.pingWaits()
	progress := writes != s.alive.writes
	s.alive.writes = writes
	return waits && progress
}

func (s *session) tick() {
	s.w.idle()
	k := &s.alive
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.over {
		return
	}
	switch reads := k.reads.Load(); {
	case reads != k.seen:
		k.seen, k.pinged = reads, false
		k.timer.Reset(s.m.cfg.KeepAlive)
	case !k.pinged:
		k.pinged = true
		_, k.writes = s.w.pingWaits()
		s.w.ping(uint64(s.m.now()))
		k.timer.Reset(s.m.cfg.KeepAliveTimeout)
	case s.pingUnderWay():
		k.timer.Reset(s.m.cfg.KeepAliveTimeout)
	default:
		// Ended from a goroutine of its own since end stops this timer.
		go s.end(errUnanswered, wire.CodeTimeout)
	}
}
