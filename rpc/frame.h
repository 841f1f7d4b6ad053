/* flotilla.v1.Frame (rpc/proto/flotilla/v1/node.proto) by hand: a message is its frames one after
 * the other, each with a tag and a length, so that neither side copies a frame to pack it. */
#ifndef FLOTILLA_RPC_FRAME_H
#define FLOTILLA_RPC_FRAME_H

#include "base/codec.h"
#include "rpc/client.h"

enum status rpc_frame_send(struct rpc_stream *stream, struct slice frame) MUST_CHECK;
enum status rpc_frame_send_link(struct rpc_link *link, struct slice frame) MUST_CHECK;

/* Before a walk. False: the message is none, or has more than RPC_FRAMES_PER_MESSAGE_MAX frames. */
bool rpc_frame_open(struct slice message, struct decoder *ret_frames);
/* Walks a received message. False at the end; then `in->failed` tells a message that is none. */
bool rpc_frame_next(struct decoder *in, struct slice *ret_frame);

#endif
