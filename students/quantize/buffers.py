"""Buffers of a TFLite file that lie where microcontrollers, which read weights in place, want them."""

import ai_edge_litert.schema_py_generated as schema
import flatbuffers

ALIGNMENT = 16  # bytes, as the schema demands of buffers


class AlignedBuffer(schema.BufferT):
    """The generated Pack ignores the alignment that the schema asks for."""

    def Pack(self, builder: flatbuffers.Builder) -> int:  # noqa: N802
        vector = None
        if self.data is not None:
            builder.StartVector(1, len(self.data), ALIGNMENT)
            builder.head = builder.Head() - len(self.data)
            builder.Bytes[builder.Head() : builder.Head() + len(self.data)] = self.data
            vector = builder.EndVector()
        schema.BufferStart(builder)
        if vector is not None:
            schema.BufferAddData(builder, vector)
        return schema.BufferEnd(builder)
