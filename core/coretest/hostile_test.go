package coretest_test

import (
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/tinylib/msgp/msgp"

	"github.com/gridmux/gridmux/core/coretest"
)

// recorder is a T that remembers with what a test failed.
type recorder struct {
	testing.TB
	failures []string
}

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) {
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

// failuresOf returns with what a test failed.
func failuresOf(test func(testing.TB)) []string {
	r := &recorder{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		test(r)
	}()
	<-done
	return r.failures
}

func fullReport() *report {
	return &report{
		Disks:  []disk{{Name: "disk1", Space: 1 << 40, Sum: []byte{1, 2, 3}}, {Name: "disk2"}},
		Labels: map[string]string{"rack": "7"},
		Marks:  []uint32{1, 70_000},
		Load:   0.5,
		Ready:  true,
	}
}

// TestHostileMessages holds that generated code with limits passes.
func TestHostileMessages(t *testing.T) {
	coretest.HostileMessages(t, fullReport())
}

// TestHostileMessagesBite holds that each weakness of a decoder is found and
// said, and that none of them ends the process.
func TestHostileMessagesBite(t *testing.T) {
	for _, test := range []struct {
		name string
		run  func(testing.TB)
		want []string // of the failures
	}{
		{"a slice without a limit", func(t testing.TB) {
			coretest.HostileMessages(t, &unlimitedList{Items: []uint64{1}})
		}, []string{`array at byte 7, of length 1048576: \d{7,8} bytes allocated`}},
		{"a slice without a limit that is empty in the example", func(t testing.TB) {
			coretest.HostileMessages(t, &unlimitedList{})
		}, []string{`array at byte 7, of length 1048576: \d{7,8} bytes allocated`}},
		{"a map without a limit", func(t testing.TB) {
			coretest.HostileMessages(t, &unlimitedMap{Inner: map[string]string{"a": "b"}})
		}, []string{`map at byte 7, of length 65536: \d{7,8} bytes allocated`}},
		{"a field of type any", func(t testing.TB) {
			coretest.HostileMessages(t, &anything{Value: "x"})
		}, []string{`each of many levels at byte \d+ announces as many elements as bytes follow: \d{8,9} bytes allocated`, `150000 levels are at byte \d+ in place of the string: \d{7,8} bytes allocated`}},
		{"a type that contains itself", func(t testing.TB) {
			coretest.HostileMessages(t, &link{next: &link{}})
		}, []string{`is 150000 times within itself: \d{7,8} bytes allocated`}},
		{"a type that contains itself, with the path in its error", func(t testing.TB) {
			coretest.HostileMessages(t, &tree{Children: []tree{{Name: "leaf"}}})
		}, []string{`is 1500 times within itself, wrong at the end: \d{7,8} bytes allocated`}},
		{"a decoder that panics", func(t testing.TB) {
			coretest.HostileMessages(t, &careless{7})
		}, []string{`cut off after 0 of 1 bytes: it panics: .*index out of range`}},
		{"a decoder that believes in what is cut off", func(t testing.TB) {
			coretest.HostileMessages(t, &trusting{text: "abc"})
		}, []string{`cut off after 2 of 4 bytes: .* error <nil>`}},
		{"a decoder that takes what is behind", func(t testing.TB) {
			coretest.HostileMessages(t, &gluttonous{})
		}, []string{`with 1 bytes behind its end that are to be left over`}},
		{"no example", func(t testing.TB) {
			coretest.HostileMessages[disk](t)
		}, []string{`no example`}},
		{"an example that is nil", func(t testing.TB) {
			coretest.HostileMessages[disk](t, nil)
		}, []string{`example 0 of a coretest_test.disk is nil`}},
		{"an example that is too large", func(t testing.TB) {
			coretest.HostileMessages(t, &disk{Name: strings.Repeat("x", 5000)})
		}, []string{`its encoding has 50\d\d bytes`}},
		{"an example of too many values", func(t testing.TB) {
			coretest.HostileMessages(t, &unlimitedList{Items: make([]uint64, 300)})
		}, []string{`its encoding has 303 values`}},
		{"an example over a limit", func(t testing.TB) {
			coretest.HostileMessages(t, &disk{Sum: make([]byte, 300)})
		}, []string{`example 0 of a coretest_test.disk: .*limit exceeded`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			failures := strings.Join(failuresOf(test.run), "\n")
			for _, want := range test.want {
				if !regexp.MustCompile(want).MatchString(failures) {
					t.Errorf("nothing matches %s in\n%s", want, failures)
				}
			}
		})
	}
}

// TestHostileZeroValue holds that a type passes whose zero value is no message.
func TestHostileZeroValue(t *testing.T) {
	coretest.HostileMessages(t, &named{"a"})
}

// named has to have a name.
type named struct{ name string }

func (n *named) Msgsize() int                        { return msgp.StringPrefixSize + len(n.name) }
func (n *named) MarshalMsg(b []byte) ([]byte, error) { return msgp.AppendString(b, n.name), nil }

func (n *named) UnmarshalMsg(b []byte) (_ []byte, err error) {
	n.name, b, err = msgp.ReadStringBytes(b)
	if err == nil && n.name == "" {
		return nil, errors.New("no name")
	}
	return b, err
}

// TestFieldLimit holds what the documentation says of limits: a field's own
// counts when it is decoded, that of the file when it is encoded.
func TestFieldLimit(t *testing.T) {
	b := msgp.AppendMapHeader(nil, 1)
	b = msgp.AppendString(b, "marks")
	b = msgp.AppendArrayHeader(b, 512)
	b = append(b, make([]byte, 512)...)
	var r report
	if _, err := r.UnmarshalMsg(b); err != nil || len(r.Marks) != 512 {
		t.Errorf("%d marks, %v; want those that the field allows", len(r.Marks), err)
	}
	if _, err := r.MarshalMsg(nil); err == nil {
		t.Error("more elements were encoded than the file allows")
	}
}

// link, careless, trusting and gluttonous are written by hand, and badly.
type link struct {
	next *link
	_    [64]byte
}

func (l *link) Msgsize() int { return 1 }

func (l *link) MarshalMsg(b []byte) ([]byte, error) {
	if l.next == nil {
		return append(b, 0x90), nil
	}
	return l.next.MarshalMsg(append(b, 0x91))
}

func (l *link) UnmarshalMsg(b []byte) ([]byte, error) {
	n, b, err := msgp.ReadArrayHeaderBytes(b)
	switch {
	case err != nil || n == 0:
		return b, err
	case n > 1:
		return nil, msgp.ErrLimitExceeded
	}
	l.next = &link{}
	return l.next.UnmarshalMsg(b)
}

type careless [1]byte

func (c *careless) Msgsize() int                          { return 1 }
func (c *careless) MarshalMsg(b []byte) ([]byte, error)   { return append(b, c[0]), nil }
func (c *careless) UnmarshalMsg(b []byte) ([]byte, error) { c[0] = b[0]; return b[1:], nil }

type trusting struct{ text string }

func (s *trusting) Msgsize() int                        { return 32 }
func (s *trusting) MarshalMsg(b []byte) ([]byte, error) { return msgp.AppendString(b, s.text), nil }
func (s *trusting) UnmarshalMsg(b []byte) ([]byte, error) {
	if len(b) == 0 {
		return nil, msgp.ErrShortBytes
	}
	n := min(1+int(b[0]&0x1f), len(b))
	s.text = string(b[1:n])
	return b[n:], nil
}

type gluttonous struct{}

func (g *gluttonous) Msgsize() int                        { return 1 }
func (g *gluttonous) MarshalMsg(b []byte) ([]byte, error) { return msgp.AppendNil(b), nil }
func (g *gluttonous) UnmarshalMsg(b []byte) ([]byte, error) {
	if len(b) == 0 {
		return nil, msgp.ErrShortBytes
	}
	return nil, nil
}
