package typed_test

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/tinylib/msgp/msgp"
)

// Odd is a message whose methods do what its Mode says where they can.
type Odd struct {
	Mode string
	Data []byte
	own  []byte // what MarshalMsg returns, if it is set

	during func() // what UnmarshalMsg does first, if it is set
}

// The modes, by the method that is odd then.
const (
	marshalPanics   = "marshal panics"
	marshalFails    = "marshal fails"
	unmarshalPanics = "unmarshal panics"
	unmarshalFails  = "unmarshal fails"
	sizeTooLow      = "size too low"
	sizeNegative    = "size negative"
)

var errOdd = errors.New("odd on purpose")

func (o *Odd) MarshalMsg(b []byte) ([]byte, error) {
	switch {
	case o.Mode == marshalPanics:
		// It has begun to write.
		_ = append(b, bytes.Repeat([]byte{0xEE}, 100)...)
		panic(errOdd)
	case o.Mode == marshalFails:
		return append(b, 1), errOdd
	case o.own != nil:
		return o.own, nil
	}
	return msgp.AppendBytes(msgp.AppendString(b, o.Mode), o.Data), nil
}

func (o *Odd) UnmarshalMsg(b []byte) ([]byte, error) {
	if o.during != nil {
		o.during()
	}
	mode, b, err := msgp.ReadStringBytes(b)
	if err != nil {
		return b, err
	}
	switch o.Mode = mode; mode {
	case unmarshalPanics:
		panic(errOdd)
	case unmarshalFails:
		return b, errOdd
	}
	o.Data, b, err = msgp.ReadBytesBytes(b, o.Data)
	return b, err
}

func (o *Odd) Msgsize() int {
	switch o.Mode {
	case sizeTooLow:
		return 0
	case sizeNegative:
		return -1
	}
	return 10 + len(o.Mode) + len(o.Data)
}

// want returns an error unless o is as it was sent.
func (o *Odd) want(mode string, data []byte) error {
	if o.Mode != mode || !bytes.Equal(o.Data, data) {
		return fmt.Errorf("a message of mode %q with %d bytes came back with mode %q and %d bytes", mode, len(data), o.Mode, len(o.Data))
	}
	return nil
}
