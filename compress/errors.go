package compress

import "errors"

// Errors of [Codec.Decode] and [Codec.DecodeDict]. They are wrapped; compare
// with errors.Is. Each concerns one message alone: the codec works on.
var (
	// ErrTooLarge: the message is larger than the limit once decoded, or asks for
	// a window above 8 MiB. Nothing was allocated for it.
	ErrTooLarge = errors.New("decoded message too large")
	// ErrCorrupt: the bytes are no message of this codec, or not a whole one, or
	// something stands behind it.
	ErrCorrupt = errors.New("corrupt compressed message")
	// ErrUnknownDictionary: the message needs a dictionary that the codec was not
	// given, or another one than the caller named.
	ErrUnknownDictionary = errors.New("unknown dictionary")
)
