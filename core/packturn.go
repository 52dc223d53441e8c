package core

import (
	"runtime"
	"time"
)

// turnFrom is the size in bytes above which messages take turns to be compressed, or to
// be restored. Above it those of package compress do so among themselves, where nothing
// ends the wait: here it ends with the call.
const turnFrom = 64 << 10

// codecTurns are places for large messages that are compressed, or restored: with more of
// them than there are processors all would only take longer. Each of the two has its own,
// since what is restored may be what others wait for.
type codecTurns chan struct{}

func newCodecTurns() codecTurns { return make(codecTurns, runtime.GOMAXPROCS(0)) }

func (t codecTurns) leave() { <-t }

// patience says how long a message waits for its turn: as long as somebody wants it.
type patience struct {
	over     func() <-chan struct{} // what it returns is closed when nobody does any more
	deadline int64                  // of the time-out option of a call, manager's clock; 0: none
	gone     func() bool            // whether nobody does where no channel tells; nil: never
}

// takeTurn reports whether the message has got its turn, which then has to be left.
func (m *Manager) takeTurn(turns codecTurns, until patience) bool {
	select {
	case turns <- struct{}{}:
		return true
	default:
	}
	over := until.over()
	var expired <-chan time.Time
	if until.deadline != 0 {
		timer := time.NewTimer(time.Duration(max(until.deadline-m.now(), 1)))
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case turns <- struct{}{}:
	case <-over:
		return false
	case <-expired:
		return false
	}
	if until.gone != nil && until.gone() {
		turns.leave()
		return false
	}
	return true
}
