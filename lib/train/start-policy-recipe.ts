/**
 * How the starting policy of TinyTerm is made: what plays the pretrained model of the paper. First pretraining, on documents that teach
 * copying and recall and on transcripts of other worlds; then imitation of random valid commands, so that the policy knows how
 * to speak but not what to do. Too little of either shows later: where the policy does not tell its own words from the terminal's, learning
 * observations spoils its actions. Sizes are numbers of documents.
 */
export const START_POLICY_RECIPE = {
  seed: 1,
  architecture: {
    hiddenSize: 128,
    intermediateSize: 384,
    numLayers: 4,
    numHeads: 4,
    numKvHeads: 2,
    headDim: 32,
    maxPositions: 512,
  },
  pretraining: {
    copyDocuments: 18_000,
    recallDocuments: 12_000,
    documentTokens: 64,
    /** Transcripts of other worlds by an agent of random commands, and by their expert. */
    randomTranscripts: 9_000,
    expertTranscripts: 600,
    /** Times every transcript is read. */
    transcriptRepeats: 3,
    batchSequences: 32,
    /** Weight of what the documents bring as news, and of what the terminal said. */
    observationWeight: 1,
    learningRate: 1.5e-3,
  },
  imitation: {
    randomTranscripts: 8_000,
    /** Transcripts of other worlds read again, so that names the tasks do not have are not forgotten. */
    otherTranscripts: 6_000,
    epochs: 3,
    batchSequences: 32,
    observationWeight: 0.3,
    learningRate: 1e-3,
  },
} as const;
