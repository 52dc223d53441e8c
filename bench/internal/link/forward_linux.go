package link

import (
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// batch is how many packets are read before it is looked which are due.
	batch = 32
	// maxUnderWay bounds the memory of the packets that travel in one direction, for
	// a sender that is faster than any line. A gigabit and a second is as much.
	maxUnderWay = 128 << 20
	late        = time.Millisecond
)

// A forwarder carries the packets of one direction, on a thread of its own, which
// owns all that is in here.
type forwarder struct {
	direction Direction
	from, to  port
	mtu       int // of the devices
	began     time.Time
	model     model
	queue     queue
	wake      wake
	woken     time.Duration // when the packet came that ended the last wait, or 0
	empty     time.Duration // when there was none to read
	last      time.Duration // what sentAt returned
	free      []*packet
	spare     []byte // for fragments and errors, of MaxMTU

	conditions Conditions
	blocked    bool
	counts     Stats

	jobs chan func() // for the thread
	bell int         // an eventfd, which wakes the thread for a job
}

func newForwarder(seed uint64, d Direction, c Conditions, from, to, mtu int) (*forwarder, error) {
	bell, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	return &forwarder{
		direction: d, from: port{device: from, capture: -1}, to: port{device: to, capture: -1}, mtu: mtu,
		began: time.Now(), model: newModel(seed, d), conditions: c, spare: make([]byte, MaxMTU),
		jobs: make(chan func(), 1), bell: bell,
	}, nil
}

// do runs job on the thread, between what was sent before and what will be sent. It
// is not for concurrent use.
func (f *forwarder) do(job func()) {
	done := make(chan struct{})
	f.jobs <- func() { job(); close(done) }
	if _, err := unix.Write(f.bell, []byte{7: 1}); err != nil {
		f.fail("write", err)
	}
	<-done
}

// work does a job if there is one.
func (f *forwarder) work() {
	select {
	case job := <-f.jobs:
		// Only what the device may hold, or a sender that does not pause would keep
		// the job waiting.
		for n := 0; n < deviceQueue && f.read(); n += batch {
		}
		job()
	default:
	}
}

// run forwards until the process ends.
func (f *forwarder) run() {
	runtime.LockOSThread()
	// The kernel may otherwise let this thread sleep 50 µs longer, to save wake-ups.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) // works, or is less precise
	// A real link does not wait until the ends leave it a processor. Root may say so.
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, -20)
	poll := []unix.PollFd{{Fd: int32(f.from.device), Events: unix.POLLIN}, {Fd: int32(f.bell), Events: unix.POLLIN}}
	var count [8]byte
	for {
		f.work()
		f.deliver()
		if f.read() {
			continue
		}
		var timeout *unix.Timespec
		due, ok := f.queue.next()
		if ok {
			// What is left when it woke up in time is spent reading.
			wait := due - f.early() - f.now()
			if wait <= 0 {
				continue
			}
			ts := unix.NsecToTimespec(int64(wait))
			timeout = &ts
		}
		n, err := unix.Ppoll(poll, timeout, nil)
		switch {
		case err != nil && err != unix.EINTR:
			f.fail("ppoll", err)
		case n > 0:
			if poll[0].Revents != 0 {
				f.woken = max(f.now()-f.early(), f.empty)
			}
			if poll[1].Revents != 0 {
				_, _ = unix.Read(f.bell, count[:]) // stops the bell; the job has a queue of its own
			}
		case ok && err == nil:
			f.wake.observe(f.now() - (due - f.early()))
		}
	}
}

// early is how much earlier than needed the thread asks to be woken, and how long ago a packet came
// that woke it up. It is a quarter of the way from end to end at most: both are taken off the wait, and
// one must be left, from which a better estimate can be learned.
func (f *forwarder) early() time.Duration { return min(f.wake.latency, f.conditions.RTT/8) }

func (f *forwarder) now() time.Duration { return time.Since(f.began) }

// read takes what the sender has put on the link, up to a batch, and reports
// whether there may be more.
func (f *forwarder) read() bool {
	for range batch {
		p := f.newPacket()
		n, err := unix.Read(f.from.device, p.octets[:f.mtu])
		switch err {
		case nil:
		case unix.EAGAIN, unix.EINTR:
			f.recycle(p)
			f.woken, f.empty = 0, f.now()
			return false
		default:
			f.fail("read", err)
		}
		p.octets = p.octets[:n]
		f.accept(p)
	}
	return true
}

// accept decides about a packet.
func (f *forwarder) accept(p *packet) {
	kind := classify(p.octets)
	if kind.version == 0 {
		f.recycle(p)
		return
	}
	c, sent := &f.conditions, f.sentAt()
	f.from.passed(p.octets, f.began.Add(sent))
	f.counts.Sent++
	f.counts.SentOctets += uint64(len(p.octets))

	block := f.blocked || c.BlockUDP && kind.protocol == protocolUDP
	if !block && len(p.octets) > c.mtu() && !kind.fragment {
		f.counts.TooBig++
		if reply := appendTooBig(f.spare[:0], p.octets, kind, c.mtu()); len(reply) > 0 {
			f.write(&f.from, reply)
		}
		f.recycle(p)
		return
	}

	what, due := f.model.next(c, sent, len(p.octets), block)
	switch what {
	case lost:
		f.counts.Lost++
	case overflowed:
		f.counts.Overflowed++
	case blocked:
		f.counts.Blocked++
	default:
		if f.queue.len()*f.mtu >= maxUnderWay {
			f.counts.Overrun++
			break
		}
		p.due, p.kind, p.mtu, p.reordered = due, kind, c.mtu(), what == reordered
		f.queue.push(p)
		return
	}
	f.recycle(p)
}

// sentAt returns when the packet came that was just read. f.woken is used once: those
// behind it came while the thread was awake.
func (f *forwarder) sentAt() time.Duration {
	at := f.now()
	if f.woken > 0 {
		at = f.woken
	}
	f.woken = 0
	f.last = max(f.last, at)
	return f.last
}

// deliver hands on what is due.
func (f *forwarder) deliver() {
	now := f.now()
	for {
		p := f.queue.pop(now)
		if p == nil {
			return
		}
		ok := true
		if len(p.octets) > p.mtu {
			fragments(p.octets, p.kind, p.mtu, f.spare, func(piece []byte) { ok = f.write(&f.to, piece) && ok })
		} else {
			ok = f.write(&f.to, p.octets)
		}
		f.count(p, ok)
		f.recycle(p)
	}
}

func (f *forwarder) count(p *packet, ok bool) {
	if !ok {
		f.counts.Overrun++
		return
	}
	f.counts.Delivered++
	f.counts.DeliveredOctets += uint64(len(p.octets))
	if p.reordered {
		f.counts.Reordered++
	}
	if f.now()-p.due > late {
		f.counts.Late++
	}
}

// write reports whether the kernel took a packet. It refuses some when it is short of
// memory. The packet is written down before, so that who has got it finds it there.
func (f *forwarder) write(to *port, octets []byte) bool {
	to.passed(octets, f.began.Add(f.now()))
	for {
		_, err := unix.Write(to.device, octets)
		if err != unix.EINTR {
			return err == nil
		}
	}
}

// newPacket returns a packet with room for the largest that the devices have.
func (f *forwarder) newPacket() *packet {
	if n := len(f.free); n > 0 {
		p := f.free[n-1]
		f.free = f.free[:n-1]
		return p
	}
	return &packet{octets: make([]byte, f.mtu)}
}

func (f *forwarder) recycle(p *packet) { f.free = append(f.free, p) }

// fail ends the process: a link that does not forward is none, and the program
// sees that.
func (f *forwarder) fail(call string, err error) {
	fmt.Fprintf(os.Stderr, "link: %s: %v\n", f.direction, os.NewSyscallError(call, err))
	os.Exit(1) //nolint:forbidigo // this process is the link
}
