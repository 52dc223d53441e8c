package h

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// alarm lets one goroutine sleep until an instant, to some microseconds.
//
// A timer of the runtime will not do for this: when all processors of the
// process are idle the runtime waits for its next timer in whole milliseconds,
// which is longer than the calls that are to be measured. Spinning for the rest
// would take a processor away from the contender. A timer of the kernel that
// is read through the runtime's poller wakes the goroutine as the arrival of a
// message would, and costs nothing before.
type alarm struct {
	fd   int // stays valid as long as file is open
	file *os.File
	buf  [8]byte
}

func newAlarm() (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	return &alarm{fd: fd, file: os.NewFile(uintptr(fd), "timerfd")}, nil
}

// sleep returns at the given instant, or at once if it is over.
func (a *alarm) sleep(until time.Time) error {
	d := time.Until(until)
	if d <= 0 {
		return nil
	}
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	if err := unix.TimerfdSettime(a.fd, 0, &spec, nil); err != nil {
		return os.NewSyscallError("timerfd_settime", err)
	}
	// The kernel answers with how often it went off, in eight bytes.
	n, err := a.file.Read(a.buf[:])
	if err == nil && n != len(a.buf) {
		err = errors.New("timerfd: short read")
	}
	return err
}

func (a *alarm) close() { a.file.Close() }
