package faulty

import (
	"slices"
	"time"

	"github.com/gridmux/gridmux/transport/internal/linkmodel"
)

// room is how many bytes of frames a flow holds; a longer frame passes when it
// holds nothing.
const room = 64 << 10

// overhead is charged for each frame beside its length, so that empty frames
// fill a flow too.
const overhead = 64

// A flow is one direction of a connection or lane: what was sent there and has
// not been handed over yet. It has no goroutine while it waits, only a timer.
// All of it is guarded by link.mu.
type flow struct {
	conn    *conn
	dir     Direction
	draws   linkmodel.Direction
	queue   []item // oldest first
	size    int    // charge of the frames that nobody has taken
	running bool   // run is at work, or about to be
	lost    bool   // nothing more is carried
	timer   *time.Timer
}

// An item is something that happens at its time: frames arrive, act is called
// without a lock, or else a stall begins.
type item struct {
	at     time.Time
	frames [][]byte
	act    func()
}

func (i *item) stalls() bool { return i.frames == nil && i.act == nil }

// direct reports whether what is carried goes on as it is.
func (f *flow) direct() bool {
	l := f.conn.link
	c := &l.conditions[f.dir]
	return !f.running && !f.lost && len(f.queue) == 0 && !l.held[f.dir] &&
		c.Perfect() && (f.dir == In || !c.Split) && !l.t.plans[f.dir].Armed()
}

// takes reports whether there is room for a frame.
func (f *flow) takes(frame []byte) bool {
	return f.size == 0 || f.size+len(frame)+overhead <= room
}

func charge(frames [][]byte) (sum int) {
	for _, frame := range frames {
		sum += len(frame) + overhead
	}
	return sum
}

// carry takes frames of one write, which it keeps.
func (f *flow) carry(frames [][]byte) {
	l, now := f.conn.link, time.Now()
	c, headroom := &l.conditions[f.dir], 0
	if f.dir == Out {
		headroom = f.conn.info.Headroom
	}
	var together [][]byte // that travel as one
	var first, sent time.Time
	flush := func() {
		if together != nil {
			f.add(item{frames: together}, first)
			together = nil
		}
	}
	var delay time.Duration
	for i, frame := range frames {
		if f.lost {
			return
		}
		payload := frame[min(headroom, len(frame)):]
		fate := f.draws.Next(c, now, len(payload))
		verdict := l.t.plans[f.dir].Frame(len(payload))
		if i == 0 || c.Split {
			delay = fate.Delay
		}
		sent = fate.Sent
		at := sent.Add(delay)
		noticed := f.damage(payload, fate.Flip)
		noticed = f.damage(payload, verdict.Flip) || noticed
		switch {
		case noticed:
			flush()
			f.breakOff(at, errCorrupted)
			return
		case verdict.Before == linkmodel.Cut:
			flush()
			f.breakOff(at, errReset)
			return
		case verdict.Before == linkmodel.Stall:
			flush()
			f.add(item{}, at)
		}
		together, first = append(together, frame), at
		if c.Split || verdict.After != linkmodel.Nothing {
			flush()
		}
		switch verdict.After {
		case linkmodel.Nothing:
		case linkmodel.Stall:
			f.add(item{}, at)
		case linkmodel.Cut:
			f.breakOff(at, errReset)
			return
		}
	}
	flush()
}

// damage flips a bit, if it is one, and reports whether the connection notices.
func (f *flow) damage(payload []byte, bit int) bool {
	if bit < 0 {
		return false
	}
	payload[bit/8] ^= 1 << (bit % 8)
	return f.conn.info.Integrity
}

// breakOff cuts the link when what is under way has arrived, and loses what
// comes from now on.
func (f *flow) breakOff(at time.Time, why error) {
	if f.dir == Out {
		why = errReset // the peer knows better, this end does not
	}
	l := f.conn.link
	f.add(item{act: func() { l.cut(why, false) }}, at)
	f.lost = true
}

// happen makes act happen as the next event of the flow, not before earliest.
func (f *flow) happen(act func(), earliest time.Time) {
	now := time.Now()
	fate := f.draws.Next(&f.conn.link.conditions[f.dir], now, 0)
	at := fate.Sent.Add(fate.Delay)
	if at.Before(earliest) {
		at = earliest
	}
	f.add(item{act: act}, at)
}

// last is when all that is under way has arrived, if nothing holds it.
func (f *flow) last() time.Time {
	if n := len(f.queue); n > 0 {
		return f.queue[n-1].at
	}
	return time.Time{}
}

func (f *flow) add(i item, at time.Time) {
	c := &f.conn.link.conditions[f.dir]
	f.size += charge(i.frames)
	var last *item
	if n := len(f.queue); n > 0 {
		last = &f.queue[n-1]
		if at.Before(last.at) {
			at = last.at
		}
	}
	together := last != nil && at.Equal(last.at) && !last.stalls()
	if !together && !i.stalls() {
		at = at.Add(c.Merge)
	}
	i.at = at
	if together && (c.Merge > 0 || !c.Split) && last.frames != nil && i.frames != nil {
		last.frames = append(last.frames, i.frames...)
	} else {
		f.queue = append(f.queue, i)
	}
	f.schedule()
}

// schedule hands over what is due, or sets the timer for what comes next.
func (f *flow) schedule() {
	if f.running || len(f.queue) == 0 || f.conn.link.held[f.dir] {
		return
	}
	switch d := time.Until(f.queue[0].at); {
	case d <= 0:
		f.running = true
		go f.run()
	case f.timer == nil:
		f.timer = time.AfterFunc(d, f.expire)
	default:
		f.timer.Reset(d)
	}
}

func (f *flow) expire() {
	l := f.conn.link
	l.mu.Lock()
	defer l.mu.Unlock()
	f.schedule()
}

// run hands over what is due.
func (f *flow) run() {
	l := f.conn.link
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(f.queue) > 0 && !l.held[f.dir] && !f.queue[0].at.After(time.Now()) {
		i := f.queue[0]
		f.queue[0] = item{}
		f.queue = f.queue[1:]
		switch {
		case i.stalls():
			l.hold(f.dir)
		case i.act != nil:
			l.mu.Unlock()
			i.act()
			l.mu.Lock()
		case f.dir == In:
			f.conn.ready = append(f.conn.ready, i.frames...)
			f.conn.change.Broadcast()
		default:
			f.send(i.frames)
		}
	}
	f.running = false
	if len(f.queue) == 0 {
		f.queue = nil
	}
	f.schedule()
}

// send writes frames to the link below. It gives up the lock meanwhile.
func (f *flow) send(frames [][]byte) {
	l, c, n := f.conn.link, f.conn, charge(frames)
	if c.writeErr == nil {
		l.mu.Unlock()
		err := c.inner.WriteFrames(frames)
		l.mu.Lock()
		c.writeErr = translate(err)
	}
	f.size -= n
	c.change.Broadcast()
}

// release lets go on what was held.
func (f *flow) release() {
	f.queue = slices.DeleteFunc(f.queue, func(i item) bool { return i.stalls() })
	f.schedule()
}

// drop loses everything under way.
func (f *flow) drop() {
	f.queue, f.lost = nil, true
	if f.timer != nil {
		f.timer.Stop()
	}
}
