// Package mime finds the parts of a message: where the header and the body
// of each lie, and of what type they are (RFC 2045, RFC 2046). It decodes
// nothing and keeps nothing of the bodies.
//
// One pass over the octets suffices, whatever the message is: depth, number
// of parts and length of headers are bounded, and beyond a bound a part is
// a leaf of type application/octet-stream. No message is an error.
package mime
