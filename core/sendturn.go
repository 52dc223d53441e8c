package core

// sendTurns decide which of the goroutines that send on one stream at once is next,
// where some have messages that need all of its window: small messages would take the
// credit from under those for as long as there are any. Small messages that wait when a
// large one comes go before it, and those that wait when one has gone go before the
// next. RawStream.mu guards them.
type sendTurns struct {
	large, small int32 // that have come and not gone
	passes       int32 // small messages that may go although a large one waits; at most small
}

// come is called when a message waits or goes at once. It reports whether others may have
// got their turn by that.
func (t *sendTurns) come(large bool) bool {
	if !large {
		t.small++
		return false
	}
	t.large++
	t.passes = t.small
	return t.small > 0
}

// may reports whether such a message may go now, if there is credit for it.
func (t *sendTurns) may(large bool) bool {
	if large {
		return t.passes == 0
	}
	return t.large == 0 || t.passes > 0
}

// leave is called when a message has gone, or is not sent. It reports whether others
// may have got their turn by that.
func (t *sendTurns) leave(large, gone bool) bool {
	switch {
	case large:
		t.large--
		if gone {
			t.passes = t.small
		}
	default:
		t.small--
		if gone && t.passes > 0 {
			t.passes--
		}
		t.passes = min(t.passes, t.small)
	}
	if t.large == 0 {
		t.passes = 0
	}
	return large || t.large > 0
}

// awaitTurn is come, and tells the others. st.mu is held.
func (st *RawStream) awaitTurn(large bool) {
	if st.out.turns.come(large) {
		st.out.wakeUp()
	}
}

// leaveTurn is leave, and tells the others. st.mu is held.
func (st *RawStream) leaveTurn(large, gone bool) {
	if st.out.turns.leave(large, gone) {
		st.out.wakeUp()
	}
}
