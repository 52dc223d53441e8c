// Package payload has ready-made message types for the typed edge of gridmux,
// for requests and responses that need no type of their own and no generated
// code:
//
//   - [Bytes]: bytes as they are
//   - [Strings]: a map of strings
//   - [Values]: url.Values, such as the query of an HTTP request
//   - [None]: nothing
//   - [JSON]: any type that encoding/json knows
//   - [Array]: a list of any message type, generated or from here
//
// They stand where a generated type would:
//
//	var list = core.NewUnary[payload.Strings, payload.Array[Disk, *Disk]]("disk.list")
//
// The pointer to each is a msgp.Marshaler, msgp.Unmarshaler and msgp.Sizer.
//
// # What is on the wire
//
// Each is one MessagePack value, as the types say. A nil Bytes, Strings, Values
// or Array arrives as nil, and one without elements as one without elements; so
// do the lists within Values.
//
// # Decoding
//
// UnmarshalMsg trusts nothing that it reads. What a message announces is held
// against the bytes that are there and against [MaxElements] and [MaxDepth]
// before memory is allocated for it, so that what is allocated stays in
// proportion to what has arrived. An error says what was found; it wraps one of
// msgp's: ErrShortBytes, ErrLimitExceeded, ErrRecursion, ErrDuplicateEntry or a
// TypeError. The value decoded into is then in no particular state.
//
// What is decoded keeps no part of the message, but it reuses what the value
// decoded into holds: the memory of Bytes and Array, the map of Strings and
// Values. So clone what is to outlive the next decoding into the same value.
// Nothing of the previous value shows through.
//
// MarshalMsg appends. It refuses what the same limits would make the receiver
// refuse, so such a message fails before it is sent. Only the depth of the elements
// of an [Array], and of generated types, is not looked at before they arrive.
//
// # Generated types
//
// Code that the msgp tool generates believes the counts that a message
// announces, unless the file that declares the types says otherwise: twelve
// bytes can make it allocate gigabytes. So put limits into every such file, in a
// comment of its own that begins at the start of the line and has no space
// behind the slashes:
//
//	//msgp:limit arrays:1024 maps:256 marshal:true
//
// arrays is the largest number of elements of a slice and of bytes of a []byte,
// maps that of entries of a map and of fields of a struct, both for each slice
// and map on its own; the decoder returns msgp.ErrLimitExceeded beyond them.
// Strings need no limit. With marshal:true the encoder refuses slices and maps
// beyond the limits too, so that they fail before they are sent; a []byte is held
// against its limit by the decoder alone. Limits in one file do not count for the
// types of another; 0 is no limit.
//
// A field can have a limit of its own, above or below that of the file, with
// `msg:"disks,limit=10000"`. It is for decoding; with marshal:true the encoder
// keeps to that of the file even there.
//
// Generated code still allocates what is announced within a limit before it
// looks for it, for a []byte too: a limit times the size of an element is what
// one hostile header costs. Keep that below a mebibyte. And nothing limits
// depth: a field of type any, or a type that contains itself, can be made to
// allocate far more than its message is long. Have neither in a message; as
// elements of an [Array] such types are safe, since Array checks the structure of
// the whole message first. Function HostileMessages of package coretest tries all
// of this on a type.
//
// # In logs and traces
//
// All types are slog.LogValuers. slog.Any("request", req) in a handler, in a
// function around handlers or beside a call shows parameters by name, bounded in
// number and length; while the logger's level is off they are not looked at.
// Bytes show their size alone. A type of your own joins in with a method
// LogValue, also as element of an Array and within JSON.
package payload
