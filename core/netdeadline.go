package core

import "time"

// timeLimit is one of the two deadlines of a netConn. RawStream.mu guards it.
type timeLimit struct {
	at    int64 // manager's clock; 0: none
	timer *time.Timer
}

func (l *timeLimit) stop() {
	l.at = 0
	if l.timer != nil {
		l.timer.Stop()
	}
}

func (c *netConn) SetDeadline(t time.Time) error {
	return c.setDeadline(t, &c.readLimit, &c.writeLimit)
}

func (c *netConn) SetReadDeadline(t time.Time) error { return c.setDeadline(t, &c.readLimit) }

func (c *netConn) SetWriteDeadline(t time.Time) error { return c.setDeadline(t, &c.writeLimit) }

func (c *netConn) setDeadline(t time.Time, limits ...*timeLimit) error {
	st := c.st
	if st.s != nil {
		st.mu.Lock()
		defer st.mu.Unlock()
	}
	// Close stops the timers with the lock held: none is set after it.
	if err := c.usable(); err != nil {
		return c.opError("set", err)
	}
	for _, l := range limits {
		l.stop()
		c.setExpired(l, false)
		if t.IsZero() {
			continue
		}
		l.at = st.s.m.at(t)
		left := time.Duration(l.at - st.s.m.now())
		switch {
		case left <= 0:
			c.setExpired(l, true)
		case c.needless(l):
		case l.timer == nil:
			l.timer = time.AfterFunc(left, func() { c.expire(l) })
		default:
			l.timer.Reset(left)
		}
	}
	return nil
}

// needless reports whether nobody can wait any more until the time is over: where the
// stream has ended nothing is sent, and its handler gets nothing. RawStream.mu is held.
func (c *netConn) needless(l *timeLimit) bool {
	return c.st.over && (l == &c.writeLimit || c.st.serving())
}

// streamEnded stops the timers that are needless now. RawStream.mu is held.
func (c *netConn) streamEnded() {
	for _, l := range []*timeLimit{&c.readLimit, &c.writeLimit} {
		if c.needless(l) {
			l.stop()
		}
	}
}

// expire is called by the timer. It looks at the time, since a timer that is
// stopped, or set anew, may be about to call it all the same.
func (c *netConn) expire(l *timeLimit) {
	c.st.mu.Lock()
	defer c.st.mu.Unlock()
	if l.at != 0 && l.at <= c.st.s.m.now() {
		c.setExpired(l, true)
	}
}

// setExpired says whether the time of who reads, or writes, is over.
// RawStream.mu is held.
func (c *netConn) setExpired(l *timeLimit, is bool) {
	st := c.st
	if l == &c.readLimit {
		st.in.expired = is
		st.in.wakeUp()
		return
	}
	st.out.expired = is
	st.out.wakeUp()
}

// isExpired reads a flag that RawStream.mu guards.
func (c *netConn) isExpired(flag *bool) bool {
	c.st.mu.Lock()
	defer c.st.mu.Unlock()
	return *flag
}
