package link

import (
	"encoding/binary"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	pcapNanoseconds = 0xa1b23c4d // magic number of the form with nanoseconds
	pcapRaw         = 101        // packets begin with their IP header
)

// A port is a device as one thread uses it, and where it writes what passes there.
type port struct {
	device  int
	capture int // a file, or -1
	record  []byte
}

// startCapture writes the head of a file. Records are appended to it from more
// than one thread, each in one piece.
func startCapture(file int) error {
	flags, err := unix.FcntlInt(uintptr(file), unix.F_GETFL, 0)
	if err == nil {
		_, err = unix.FcntlInt(uintptr(file), unix.F_SETFL, flags|unix.O_APPEND)
	}
	if err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	order := binary.NativeEndian // the magic number says which
	head := order.AppendUint32(nil, pcapNanoseconds)
	head = order.AppendUint16(head, 2) // version 2.4
	head = order.AppendUint16(head, 4)
	head = append(head, make([]byte, 8)...)
	head = order.AppendUint32(head, MaxMTU)
	head = order.AppendUint32(head, pcapRaw)
	_, err = unix.Write(file, head)
	return os.NewSyscallError("write", err)
}

// passed writes a packet down, if that is wanted. What cannot be written ends it.
func (p *port) passed(packet []byte, at time.Time) {
	if p.capture < 0 {
		return
	}
	order := binary.NativeEndian
	p.record = p.record[:0]
	for _, word := range []int{int(at.Unix()), at.Nanosecond(), len(packet), len(packet)} {
		p.record = order.AppendUint32(p.record, uint32(word))
	}
	p.record = append(p.record, packet...)
	if _, err := unix.Write(p.capture, p.record); err != nil {
		p.capture = -1
	}
}
