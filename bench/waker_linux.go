package main

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// alarm is a waker that is late by microseconds: a timer of the kernel that is read through
// the runtime's poller, as a message would be that arrives. When all processors of the
// process are idle the runtime waits for its own timers in whole milliseconds, and
// to spin instead would take a processor away from what is measured.
type alarm struct {
	fd   int // stays valid as long as file is open
	file *os.File
	buf  [8]byte
}

func newWaker() waker {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return timers{}
	}
	return &alarm{fd: fd, file: os.NewFile(uintptr(fd), "timerfd")}
}

func (a *alarm) wait(ctx context.Context, until time.Time, failed <-chan error) error {
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	default:
	}
	d := time.Until(until)
	if d <= 0 {
		return nil
	}
	if d > longestAlarm {
		// Long enough for the rest to be waited for by the kernel, and failures to be seen.
		if err := pause(ctx, d-longestAlarm, failed); err != nil {
			return err
		}
		d = time.Until(until)
	}
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(max(int64(d), 1))}
	if err := unix.TimerfdSettime(a.fd, 0, &spec, nil); err != nil {
		return os.NewSyscallError("timerfd_settime", err)
	}
	// The kernel answers with how often it went off.
	_, err := a.file.Read(a.buf[:])
	return err
}

// longestAlarm is how long an interrupt may have to wait for a sleeping goroutine.
const longestAlarm = 20 * time.Millisecond

func (a *alarm) close() { a.file.Close() }
