package core

import (
	"testing"
	"testing/synctest"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// TestUnsentCallsRepeatedOnARestartedPeer holds that a call of which nothing was sent
// is made again on another connection to the same process, as after a move, and on
// one to a process that was started anew only if it is to wait for connections: else
// whether it failed would hang on who is quicker, the new process or the caller.
func TestUnsentCallsRepeatedOnARestartedPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestManager(t, nil)
		s, _ := newTestSession(m)
		defer s.finishTest()
		for _, test := range []struct {
			name    string
			current func() *session
			res     result
			set     callSettings
			again   bool
		}{
			{"the connection lives", func() *session { return s }, notSent(errNoNewCalls), callSettings{}, false},
			{"there is none", func() *session { return nil }, notSent(ErrDisconnected), callSettings{}, false},
			{"there is none, and it waits", func() *session { return nil }, notSent(ErrDisconnected), callSettings{wait: true}, true},
			{"another to the same process", func() *session { return &session{instance: s.instance} }, notSent(errNoNewCalls), callSettings{}, true},
			{"another process", func() *session { return &session{instance: [wire.InstanceSize]byte{1}} }, notSent(ErrDisconnected), callSettings{}, false},
			{"another process, and it waits", func() *session { return &session{instance: [wire.InstanceSize]byte{1}} }, notSent(ErrDisconnected), callSettings{wait: true}, true},
			{"it may have run", func() *session { return &session{instance: s.instance} }, result{outcome: OutcomeMaybeRun, err: ErrDisconnected}, callSettings{wait: true}, false},
		} {
			s.peer.current.Store(test.current())
			if again := test.set.again(t.Context(), test.res, s); again != test.again {
				t.Errorf("%s: the call is made again: %v, want %v", test.name, again, test.again)
			}
		}
		s.peer.current.Store(s)
	})
}
