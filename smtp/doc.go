// Package smtp holds the words of mail that all of barid shares: Address,
// Path and Reply. It speaks no protocol; that is smtp/wire.
package smtp
