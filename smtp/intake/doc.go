// Package intake is what all ways into the relay have in common: content goes
// past judges into a draft, the draft is committed for every recipient at
// once, and those who do not get it are told of.
//
// Who may send what to whom is for smtp/submit and smtp/receive to say.
package intake
