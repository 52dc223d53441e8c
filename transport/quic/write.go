package quic

import (
	"fmt"

	"github.com/gridmux/gridmux/transport"
)

// writer is the state of the sending direction, guarded by the write lock.
type writer struct {
	err error // the first failure: a part of a frame may be out
}

var errHeadroom = fmt.Errorf("quic: a frame is shorter than the %d bytes of headroom", headroom)

// WriteFrames sends each frame with its length in front. A batch is gathered
// into writes of up to 64 KiB. In steady state it does not allocate. It returns
// when quic-go has put all but the last kilobyte into packets, which waits for
// the windows of the peer and for the congestion of the path.
func (l *lane) WriteFrames(frames [][]byte) error {
	if l.closed.Load() {
		return errClosed
	}
	for _, f := range frames {
		switch n := len(f) - headroom; {
		case n > maxFrame:
			return fmt.Errorf("quic: %w", transport.FrameTooLargeError(uint64(n), maxFrame))
		case n < 0:
			return errHeadroom
		}
	}
	if len(frames) == 0 {
		return nil
	}
	if !l.lockWrite() {
		return errClosed
	}
	defer l.unlockWrite()
	if l.out.err == nil {
		for _, f := range frames {
			putHeader(f)
		}
		l.out.err = l.send(frames)
	}
	if l.out.err != nil {
		return l.linkError("write", l.out.err)
	}
	return nil
}

// send writes finished frames in as few calls as a chunk allows: every call
// wakes the goroutine of the connection, which makes a packet of what it finds.
// The caller holds the write lock.
func (l *lane) send(frames [][]byte) error {
	if len(frames) == 1 {
		return l.write(frames[0])
	}
	buf, n := getChunk(), 0
	defer putChunk(buf)
	for _, f := range frames {
		if n > 0 && len(f) > len(buf)-n {
			if err := l.write(buf[:n]); err != nil {
				return err
			}
			n = 0
		}
		if len(f) >= len(buf) {
			if err := l.write(f); err != nil {
				return err
			}
			continue
		}
		n += copy(buf[n:], f)
	}
	if n == 0 {
		return nil
	}
	return l.write(buf[:n])
}

// The first lane carries control and small calls, so it goes before the others. A
// write of more than manyBytes tells of a backlog; its first fairBytes take turns
// with the other lanes that are open, each of which gets a sixteenth or more of what
// the first one gets, where it would get nothing.
const (
	urgent    = 0
	ordinary  = 3 // the default of quic-go
	manyBytes = 16 << 10
	fairBytes = 4 << 10
)

func (l *lane) write(p []byte) error {
	if len(p) > manyBytes && l == &l.conn.lane && l.conn.isShared() {
		l.stream.SetPriority(ordinary, true)
		_, err := l.stream.Write(p[:fairBytes])
		l.stream.SetPriority(urgent, true)
		if err != nil {
			return err
		}
		p = p[fairBytes:]
	}
	_, err := l.stream.Write(p)
	return err
}
