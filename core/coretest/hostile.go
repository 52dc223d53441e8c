package coretest

import (
	"bytes"
	"fmt"
	"reflect"
	"runtime"
	"testing"

	"github.com/tinylib/msgp/msgp"
)

const (
	// maxAllocated is what a decoder may allocate for any one hostile message,
	// whatever that announces.
	maxAllocated = 1 << 20
	// maxFindings is how many hostile messages are reported for one type.
	maxFindings = 8
	// maxShown is how many bytes of a message a report has.
	maxShown = 48
)

// message is a type that the typed edge of core takes.
type message[T any] interface {
	*T
	msgp.Marshaler
	msgp.Unmarshaler
	msgp.Sizer
}

// HostileMessages decodes what a broken or malicious peer may send instead of a
// T, and fails the test where the decoder of T
//
//   - panics,
//   - allocates more than 1 MiB for one message,
//   - takes a message that was cut off or that announces more than it holds, or
//   - touches the bytes behind its own message.
//
// The hostile messages are made from the encodings of the examples, and of the
// zero T if that is a message: cut off at every byte; with bytes behind their
// end; with every length, of an array, map, string, binary or extension, replaced
// by ones up to 2^32-1; with every value replaced by values of other types, and
// by arrays and maps 150 000 levels deep; and with a value put into itself as
// often, if the type can contain itself. So an example should have something in every field, in
// every slice and map at least one element, and a type that contains itself
// should do so. It should be small: 256 values, 4 KiB.
//
//	func TestHostileReports(t *testing.T) {
//		coretest.HostileMessages(t, &Report{
//			Disks:  []Disk{{Name: "disk1", Sum: []byte{1}}},
//			Labels: map[string]string{"rack": "7"},
//		})
//	}
//
// Generated code passes if the file of the type has limits; see package payload
// for the directive and for what it does not cover. Lengths grow step by step
// and end at the first that is too much, so a decoder without limits fails the
// test and not the process.
//
// Where an int has 32 bits lengths end at 2^31-1: beyond it msgp itself panics
// there.
//
// Memory is measured for the whole process. A message that seems to take too
// much is tried again some times, so that what other goroutines allocate now and
// then does not count; a test that allocates megabytes all the time should not
// run beside.
func HostileMessages[T any, M message[T]](t testing.TB, examples ...*T) {
	t.Helper()
	name := reflect.TypeFor[T]().String()
	if len(examples) == 0 {
		t.Fatalf("coretest: HostileMessages: no example of a %s", name)
		return
	}
	j := &judge{t: t, name: name, decode: func(b []byte) ([]byte, error) { return M(new(T)).UnmarshalMsg(b) }}
	defer j.conclude()
	for i, example := range examples {
		if example == nil {
			t.Fatalf("coretest: HostileMessages: example %d of a %s is nil", i, name)
			return
		}
		encoded, err := M(example).MarshalMsg(nil)
		if err == nil {
			err = j.all(encoded)
		}
		if err != nil {
			t.Fatalf("coretest: HostileMessages: example %d of a %s: %v", i, name, err)
			return
		}
	}
	// The zero value need not be a message.
	if encoded, err := M(new(T)).MarshalMsg(nil); err == nil {
		_ = j.all(encoded)
	}
}

// judge tries messages on one decoder.
type judge struct {
	t        testing.TB
	name     string // of the type
	decode   func([]byte) ([]byte, error)
	findings int
}

// all tries what is made from one encoding. An error says that the encoding is
// no good for it.
func (j *judge) all(encoded []byte) error {
	j.t.Helper()
	values, err := findValues(encoded)
	if err != nil {
		return err
	}
	if v := j.try(encoded); v.panicked != nil || v.err != nil || len(v.rest) != 0 || v.allocated > maxAllocated {
		return fmt.Errorf("its own encoding is not decoded as it should be: %v", v)
	}
	j.truncated(encoded)
	j.followed(encoded)
	j.lengths(encoded, values)
	j.replaced(encoded, values)
	j.nested(encoded, values)
	return nil
}

// verdict is what decoding one message led to.
type verdict struct {
	rest      []byte
	err       error
	panicked  any
	allocated uint64
}

func (v verdict) String() string {
	if v.panicked != nil {
		return fmt.Sprintf("it panics: %v", v.panicked)
	}
	text := fmt.Sprint(v.err)
	if len(text) > maxShown*4 {
		text = text[:maxShown*4] + "…" // the path to what is wrong may be long
	}
	return fmt.Sprintf("%d bytes allocated, %d bytes left over, error %s", v.allocated, len(v.rest), text)
}

// try decodes a message. What is over the bound in each of several tries is
// the decoder's doing and not that of another goroutine.
func (j *judge) try(message []byte) (v verdict) {
	for range 4 {
		allocated := v.allocated
		v = j.decodeOnce(message)
		if allocated > 0 {
			v.allocated = min(v.allocated, allocated)
		}
		if v.allocated <= maxAllocated {
			break
		}
	}
	return v
}

func (j *judge) decodeOnce(message []byte) (v verdict) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	defer func() {
		v.panicked = recover()
		runtime.ReadMemStats(&after)
		v.allocated = after.TotalAlloc - before.TotalAlloc
	}()
	v.rest, v.err = j.decode(message)
	return v
}

// judgef tries a message, and reports what it must not do. It returns whether
// there was nothing to report.
func (j *judge) judgef(message []byte, mustFail bool, format string, args ...any) bool {
	j.t.Helper()
	v := j.try(message)
	switch {
	case v.panicked != nil:
	case v.allocated > maxAllocated:
	case mustFail && v.err == nil:
	default:
		return true
	}
	j.reportf(message, v, format, args...)
	return false
}

func (j *judge) reportf(message []byte, v verdict, format string, args ...any) {
	j.t.Helper()
	j.findings++
	if j.findings > maxFindings {
		return
	}
	shown := fmt.Sprintf("% x", message[:min(len(message), maxShown)])
	if len(message) > maxShown {
		shown += fmt.Sprintf(" … (%d bytes)", len(message))
	}
	j.t.Errorf("coretest: a message %s: %v\n\t%s", fmt.Sprintf(format, args...), v, shown)
}

func (j *judge) conclude() {
	j.t.Helper()
	if j.findings > 0 {
		j.t.Errorf("coretest: %s: %d hostile messages in all. Limits for generated code are a line in the file of the type, "+
			"//msgp:limit arrays:N maps:N (see package payload); N times the size of an element must stay under 1 MiB. "+
			"Nothing limits fields of type any and types that contain themselves: do without them", j.name, j.findings)
	}
}

// truncated cuts the message off at every byte.
func (j *judge) truncated(encoded []byte) {
	j.t.Helper()
	for n := range encoded {
		j.judgef(encoded[:n:n], true, "cut off after %d of %d bytes", n, len(encoded))
	}
}

// followed puts another message behind the message.
func (j *judge) followed(encoded []byte) {
	j.t.Helper()
	for _, behind := range [][]byte{{0xc0}, {0xc1}, bytes.Repeat([]byte{0xff}, 64), encoded} {
		message := append(bytes.Clone(encoded), behind...)
		v := j.try(message)
		if v.panicked != nil || v.err != nil || !bytes.Equal(v.rest, behind) || v.allocated > maxAllocated {
			j.reportf(message, v, "with %d bytes behind its end that are to be left over", len(behind))
		}
	}
}
